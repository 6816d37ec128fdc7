"""What only tests use is not part of the package."""

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What a library calls or makes by its name.
CALLED_BY_LIBRARIES = {
    *("list_commands", "get_command", "format_commands"),  # click
    *("find_class", "persistent_load"),  # pickle
    *(
        "get_buffer",
        "is_serving",
        "is_closing",
        "is_reading",
        "set_write_buffer_limits",
        "can_write_eof",
    ),  # asyncio, websockets
    *("_add_info", "close_extras"),  # gymnasium
}


def test_every_name_is_used_beside_where_it_is_made() -> None:
    assert unused(ROOT) == []


def test_the_search_sees_a_dead_name(tmp_path: Path) -> None:
    for path, text in {
        "marl/one.py": "LIMIT = 3\ndef used(): return dead_too()\nclass Dead:\n    def get_buffer(self): ...",
        "marl/two.py": "from marl.one import used\nused()\ndef dead_too(): ...\nNEVER: int = 1",
        "tests/test_one.py": "from marl.one import LIMIT, Dead\nfrom marl.two import NEVER",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert unused(tmp_path) == ["marl/one.py:1 LIMIT", "marl/one.py:3 Dead", "marl/two.py:4 NEVER"]


def unused(root: Path) -> list[str]:
    """Functions, classes, methods and constants of marl/ whose name stands nowhere else in what is run."""
    files = sorted([*root.glob("*.py"), *root.glob("marl/**/*.py"), *root.glob("examples/*.py")])
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    words = Counter(word for text in texts.values() for word in re.findall(r"\w+", text))
    return [
        f"{file.relative_to(root)}:{line} {name}"
        for file, text in texts.items()
        if file.is_relative_to(root / "marl")
        for line, name in _names(ast.parse(text))
        if words[name] == 1 and name not in CALLED_BY_LIBRARIES
    ]


def _names(tree: ast.Module) -> list[tuple[int, str]]:
    """(line, name) of what is made here, but not of fields."""
    found = [
        (node.lineno, node.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("__")
    ]
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found += [(node.lineno, target.id) for target in targets if isinstance(target, ast.Name)]
    return sorted(found)
