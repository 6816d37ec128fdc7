"""A file imports its own folder or a lower floor, never up, never sideways (CONTRIBUTING.md)."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A unit is a folder of marl/, a module directly in marl/, "scripts" (the programs at the root), or "examples".
FLOORS = {
    **dict.fromkeys(["scripts", "examples", "cli", "__main__", "api", "studies"], 8),
    "cluster": 7,
    **dict.fromkeys(["config", "presets"], 6),
    **dict.fromkeys(["exchanges", "exporting", "importing"], 5),
    "training": 4,
    **dict.fromkeys(["algorithms", "acting", "links"], 3),
    **dict.fromkeys(["targets", "networks", "environments", "wire", "trust", "averaging", "processes", "reports"], 2),
    "data": 1,
    **dict.fromkeys(
        ["errors", "plugins", "failpoints", "words", "log_throttle", "files", "digests", "loading", "seeds"], 0
    ),
}
# On the top floor commands and scripts turn words into calls of the API; on the lowest, all raise errors.
SIDEWAYS = {
    ("cli", "api"),
    ("cli", "studies"),
    ("studies", "api"),
    ("__main__", "cli"),
    ("scripts", "api"),
    ("scripts", "cli"),
    ("examples", "api"),
    ("log_throttle", "words"),
    ("plugins", "errors"),
    ("failpoints", "errors"),
}
# Folders of a folder, lowest first: a file imports its own, lower ones, and the files beside them, which import none.
INNER = {"cluster": ["fleets", "planning", "trainers", "runs"], "data": ["replay", "node"]}
MAY_IMPORT_CONFIG = {"cluster", "cli", "api", "studies", "scripts", "config"}


def test_every_import_keeps_to_its_floor() -> None:
    assert broken_rules(ROOT) == []


def test_no_file_imports_what_imports_it() -> None:
    assert import_circle(ROOT) == []


def test_the_checker_sees_a_circle(tmp_path: Path) -> None:
    _write(tmp_path / "marl/cli/train.py", "def train():\n    from marl.cli.parent import run_parent")
    _write(tmp_path / "marl/cli/parent.py", "from marl.cli import options, training")
    _write(tmp_path / "marl/cli/options.py", "")
    _write(tmp_path / "marl/cli/training.py", "if TYPE_CHECKING:\n    import marl.cli.train")
    assert set(import_circle(tmp_path)) == {"marl.cli.train", "marl.cli.parent", "marl.cli.training"}


def test_every_folder_has_tests() -> None:
    """tests/ mirrors marl/: whoever looks for the tests of a folder knows where they are."""
    folders = {file.relative_to(ROOT / "marl").parts[0] for file in (ROOT / "marl").glob("*/**/*.py")}
    folders |= {f"{folder}/{each}" for folder, inner in INNER.items() for each in inner}
    with_code = {folder for folder in folders if any(_code_in(ROOT / "marl" / folder))}
    untested = [folder for folder in sorted(with_code) if not any((ROOT / "tests" / folder).glob("test_*.py"))]
    assert not untested, f"folders of marl/ without tests/<folder>/test_*.py: {untested}"


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("marl/data/spaces.py", "import marl.networks.torso", "data (floor 1) imports networks (floor 2)"),
        ("marl/data/spaces.py", "from marl import networks", "data (floor 1) imports networks (floor 2)"),
        (
            "marl/networks/torso.py",
            "from marl.wire.codec import encode",
            "networks (floor 2) imports wire (floor 2)",
        ),
        (
            "marl/training/flat.py",
            "def f():\n    from marl.cluster import node",
            "training (floor 4) imports cluster",
        ),
        (
            "marl/training/flat.py",
            "if TYPE_CHECKING:\n    from marl.api import train",
            "training (floor 4) imports api",
        ),
        (
            "marl/data/ring.py",
            "import_module('marl.networks.torso')",
            "data (floor 1) imports networks (floor 2)",
        ),
        ("marl/data/ring.py", "from . import spaces", "write the whole path"),
        (
            "marl/exchanges/base.py",
            "from marl.config.settings import Config",
            "exchanges (floor 5) imports config (floor 6)",
        ),
        ("marl/presets/tools.py", "from marl.config.settings import Config", "only"),
        ("marl/api.py", "from marl.cli.main import main", "api (floor 8) imports cli (floor 8)"),
        ("marl/cluster/node.py", "import test_env", "cluster (floor 7) imports scripts (floor 8)"),
        ("marl/cluster/node.py", "from marl.cluster.runs.watch import Run", "cluster imports cluster/runs"),
        (
            "marl/cluster/fleets/local.py",
            "from marl.cluster.trainers import caller",
            "cluster/fleets imports cluster/trainers",
        ),
        ("marl/cluster/trainers/novel.py", "import marl.cluster.runs.watch", "cluster/trainers imports cluster/runs"),
        ("marl/cluster/novelties/first.py", "import marl.cluster.node", "has no floor"),
        ("marl/data/ring.py", "from marl.data.node.memory import node_memory", "data imports data/node"),
        ("marl/api.py", "from examples.own_network import Convolutions", "api (floor 8) imports examples (floor 8)"),
        ("examples/own_network.py", "from marl.config.settings import Config", "examples imports marl.config"),
        ("marl/novelties/first.py", "import math", "has no floor"),
        ("marl/data/ring.py", "import marl.novelties", "has no floor"),
        ("marl/__init__.py", "import numpy", "imports nothing"),
    ],
)
def test_the_checker_sees_a_bad_import(tmp_path: Path, file: str, line: str, complaint: str) -> None:
    _write(tmp_path / "test_env.py", "")
    _write(tmp_path / file, line)
    found = broken_rules(tmp_path)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("marl/networks/torso.py", "import math\nimport torch\nfrom marl.data.spaces import Spaces"),
        ("marl/networks/torso.py", "from marl.networks.settings import NetworkSettings"),
        ("marl/plugins.py", "from marl.errors import PluginError"),
        ("marl/cli/train.py", "from marl.api import train\nfrom marl.config.files import load_config"),
        ("marl/cluster/runs/run.py", "from marl.cluster import node\nfrom marl.cluster.fleets.local import LocalFleet"),
        ("marl/cluster/trainers/novel.py", "import marl.cluster.trainers.trainer\nimport marl.cluster.node"),
        ("marl/acting/collect.py", "from marl import __version__"),
        ("a3c_single_machine.py", "from marl.cli.main import main\nfrom marl.config.files import load_config"),
    ],
)
def test_the_checker_lets_a_good_import_pass(tmp_path: Path, file: str, line: str) -> None:
    _write(tmp_path / file, line)
    assert broken_rules(tmp_path) == []


def broken_rules(root: Path) -> list[str]:
    """Every import under ``root`` that breaks a rule, one line each."""
    scripts = {file.stem for file in root.glob("*.py")}
    found = []
    for file in sorted([*root.glob("*.py"), *root.glob("marl/**/*.py"), *root.glob("examples/**/*.py")]):
        here = file.relative_to(root)
        importer = _unit_of(here)
        if importer is None:
            if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(_parse(file))):
                found.append(f"{here}: marl/__init__.py imports nothing")
        elif importer not in FLOORS:
            found.append(f"{here}: {importer!r} has no floor: give it one in tests/test_floors.py")
        else:
            # One line may name a unit several times; one complaint is enough.
            found += dict.fromkeys(
                f"{here}:{line}: {complaint}"
                for line, name in _imports(_parse(file))
                if (complaint := _complaint(importer, name, scripts) or _inner_complaint(here, name))
            )
    return found


def import_circle(root: Path) -> list[str]:
    """Modules of marl/ that import one another in a circle, inside functions too; empty if there are none."""
    files = {".".join(file.relative_to(root).with_suffix("").parts): file for file in root.glob("marl/**/*.py")}
    graph = {
        module: {
            imported
            for _, name in _imports(_parse(file))
            if (imported := name if name in files else name.rpartition(".")[0]) in files and imported != module
        }
        for module, file in files.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _complaint(importer: str, name: str, scripts: set[str]) -> str | None:
    """What is wrong with ``importer`` importing the module or object ``name``, if anything."""
    package, *rest = name.split(".")
    if package == "":
        return "relative import: write the whole path from marl."
    if package in scripts:
        imported = "scripts"
    elif package == "examples":
        imported = "examples"
    elif package == "marl" and rest and rest[0] != "__version__":
        imported = rest[0]
    else:
        return None
    if imported not in FLOORS:
        return f"{imported!r} has no floor: give it one in tests/test_floors.py"
    if imported == "config" and importer not in MAY_IMPORT_CONFIG and FLOORS[importer] >= FLOORS["config"]:
        return f"{importer} imports marl.config: only {', '.join(sorted(MAY_IMPORT_CONFIG))} may"
    if imported == importer or FLOORS[imported] < FLOORS[importer] or (importer, imported) in SIDEWAYS:
        return None
    return f"{importer} (floor {FLOORS[importer]}) imports {imported} (floor {FLOORS[imported]})"


def _inner_complaint(here: Path, name: str) -> str | None:
    """What is wrong with a file of a folder that has floors of its own importing another file of it, if anything."""
    inner = INNER.get(here.parts[1]) if here.parts[0] == "marl" else None
    package, *rest = name.split(".")
    if inner is None or package != "marl" or rest[:1] != [here.parts[1]]:
        return None
    folder = here.parts[1]
    own = here.parts[2] if len(here.parts) > 3 else ""
    imported = rest[1] if len(rest) > 1 and rest[1] in inner else ""
    if own not in ["", *inner]:
        return f"{folder}/{own} has no floor: give it one in tests/test_floors.py"
    if ["", *inner].index(imported) <= ["", *inner].index(own):
        return None
    return f"{folder}{'/' * bool(own)}{own} imports {folder}/{imported}"


def _imports(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, dotted name) of every import, wherever it stands; a relative one starts with a dot."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [(node.lineno, alias.name) for alias in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                prefix = "." * level + (module or "")
                # "from marl import data": the unit is in the names, not in the module.
                found += [(node.lineno, f"{prefix}.{alias.name}" if module else prefix) for alias in names]
            case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]):
                called = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
                if called in {"import_module", "__import__", "load_module"}:
                    found.append((node.lineno, name))
    return found


def _unit_of(here: Path) -> str | None:
    """The unit that a file belongs to; None for marl/__init__.py."""
    if here.parts[0] != "marl":
        return "examples" if here.parts[0] == "examples" else "scripts"
    if len(here.parts) > 2:
        return here.parts[1]
    return None if here.stem == "__init__" else here.stem


def _code_in(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*.py") if file.name != "__init__.py" and file.read_text().strip()]


def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
