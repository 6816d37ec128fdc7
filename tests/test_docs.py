import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from marl.algorithms.algorithm_class import ALGORITHMS, algorithm_class
from marl.cli.main import COMMANDS
from marl.config.presets import all_presets, preset_names
from marl.config.settings import all_keys

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks/README.md",
]


def test_every_setting_is_documented():
    listed = set(
        re.findall(r"^\| `([a-z0-9_.]+)` \|", (ROOT / "docs/settings.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    keys = {key for key in all_keys() if "." in key} | {"seed", "deterministic"}
    assert listed == keys


def test_a_setting_of_some_algorithms_names_them():
    """Its meaning begins with their names, or it is none of a single one."""
    having = {}
    for algorithm in ALGORITHMS:
        for each in dataclasses.fields(algorithm_class(algorithm)):
            having.setdefault(each.name, set()).add(algorithm)
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `algorithm\.(\w+)` \| .*? \| (.*) \|$", text, re.MULTILINE)
    assert len(rows) > 30
    for name, meaning in rows:
        words = meaning.partition(":")[0].removesuffix(" with a core").split(", ")
        named = set(words) if set(words) <= set(ALGORITHMS) else None
        assert named == having[name] or (named is None and len(having[name]) > 1), name


def test_every_command_and_preset_is_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"marl {name}" not in text] == []
    assert [name for name in preset_names() if f"`{name}`" not in text] == []


def test_the_table_of_presets_is_the_list_that_is_printed():
    text = (ROOT / "docs/algorithms.md").read_text(encoding="utf-8")
    head, _, *rows = re.findall(r"^\|.*\|$", text.split("## Presets")[1], re.MULTILINE)
    _, *algorithms = (cell.strip(" `") for cell in head.strip("|").split("|"))
    told = {}
    for row in rows:
        names, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        for name in names.split(", "):
            told |= {(name, algorithm): cell for algorithm, cell in zip(algorithms, cells, strict=True) if cell}
    assert told == {(each.name, each.algorithm): "default" if each.default else "yes" for each in all_presets()}


def test_the_readme_says_of_the_same_presets_as_the_list_that_they_are_not_measured():
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("| preset | solved at |")[1].split("\n\n")[0]
    rows = [row.strip("|").split("|") for row in text.splitlines()[2:]]
    measured = {each.name: each.training is not None for each in all_presets() if each.default}
    for names, _, time in rows:
        for name in re.findall(r"`([^`]+-v\d)`", names):
            if "is not measured" not in time:  # that row says which
                assert measured[name] == ("not measured" not in time), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_file_of_the_journey_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    journey = text.split("## The journey")[1].split("## Where things live")[0]
    files = re.findall(r"`(marl/[a-z_/]+\.py)`", journey)
    assert len(files) >= 8
    assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize(
    ("page", "heading"), [("docs/network.md", "## What a refusal says"), ("docs/keys.md", "## When it is refused")]
)
def test_every_message_that_a_page_explains_is_one_of_ours(page, heading):
    _, _, tables = (ROOT / page).read_text(encoding="utf-8").partition(f"\n{heading}\n")
    firsts = re.findall(r"^\| ([^|]+) \|", tables, re.MULTILINE)
    quoted = [message for cell in firsts for message in re.findall(r"`([^`]+)`", cell)]
    assert len(quoted) >= 8
    texts = [text for file in sorted((ROOT / "marl").rglob("*.py")) for text in texts_of(file)]
    assert [message for message in quoted if not any(map(pattern_of(message).search, texts))] == []


def pattern_of(message: str) -> re.Pattern[str]:
    """What a page writes in place of a value stands for anything."""
    fixed = [part.strip() for part in re.split(r"…|NAME|ADDRESS|[0-9]+", message)]
    assert max(map(len, fixed)) >= 8, f"{message!r} could be anything"
    return re.compile(".*".join(map(re.escape, fixed)), re.DOTALL)


def texts_of(file: Path) -> Iterator[str]:
    """The literal texts of a module, those of an f-string as one, without its values."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_file_holds_the_markers_of_a_merge():
    files = [file for pattern in ("*.md", "*.toml", "Makefile") for file in ROOT.glob(pattern)]
    for folder in ("marl", "tests", "docs", "examples", "benchmarks", ".github"):
        files += [file for file in (ROOT / folder).rglob("*") if file.suffix in {".py", ".md", ".toml", ".yml"}]
    marker = re.compile(r"^(<{7} |={7}$|>{7} )", re.MULTILINE)
    assert len(files) > 100
    assert [file.name for file in files if marker.search(file.read_text(encoding="utf-8"))] == []
