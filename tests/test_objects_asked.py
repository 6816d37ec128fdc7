"""No file compares the name of an exchange or algorithm, nor what an algorithm learns from: it asks the object."""

import ast
import dataclasses
from pathlib import Path

import pytest

from marl.algorithms.algorithm_class import ALGORITHMS
from marl.exchanges.names import EXCHANGES
from marl.exchanges.settings import ExchangeSettings

ROOT = Path(__file__).resolve().parent.parent
NAMES = {*EXCHANGES, *ALGORITHMS}
OBJECTS = {"exchange", "algorithm"}
ANSWERS_FOR_ITSELF = {"marl/algorithms/base.py": "learns_from"}  # the algorithm's own property and its check


def test_every_file_asks_the_object() -> None:
    assert comparisons(ROOT) == []


def test_nobody_but_an_exchange_reads_its_settings() -> None:
    """What all exchanges have is their name; whatever else a file needs to know, a method says."""
    settings = {each.name for each in dataclasses.fields(ExchangeSettings)} - {"name"}
    found = [
        f"{file.relative_to(ROOT).as_posix()}:{node.lineno}"
        for file in sorted((ROOT / "marl").rglob("*.py"))
        if not file.is_relative_to(ROOT / "marl/exchanges")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in settings and _what(node.value).lstrip("_") == "exchange"
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        'config.exchange.name == "weights"',
        '"pairwise" != config.exchange.name',
        "exchange.name in LEARNER_EXCHANGES",
        'self._config.algorithm.name not in ("a3c", "ppo")',
        'settings.name == "experience"',
        'name in {"experience", "observations"}',
        'algorithm.learns_from == "transitions"',
        'type(self._algorithm).learns_from != "trajectories"',
        'config.exchange.name.startswith("w")',
        'match config.exchange.name:\n    case "weights": ...',
        '{"weights": 1, "pairwise": 2}[config.exchange.name]',
        'getattr(algorithm, "learns_from") == "transitions"',
    ],
)
def test_the_search_sees_a_comparison(tmp_path: Path, line: str) -> None:
    file = tmp_path / "marl/cluster/node.py"
    file.parent.mkdir(parents=True)
    file.write_text(line, encoding="utf-8")
    assert comparisons(tmp_path) == ["marl/cluster/node.py:1"]


@pytest.mark.parametrize(
    "line",
    [
        "if not config.exchange.name: ...",
        'kind != "weights"',
        '"weights" in answer.arrays',
        "config.exchange.learner",
        'block["observations"]',
        'optimizer.name == "adam"',
        'f"exchange.name = {config.exchange.name}"',
        '":" in config.algorithm.name',
        '":" not in algorithm.name + config.network.name',
        'match name:\n    case "int8": ...',
    ],
)
def test_the_search_lets_the_rest_pass(tmp_path: Path, line: str) -> None:
    file = tmp_path / "marl/cluster/node.py"
    file.parent.mkdir(parents=True)
    file.write_text(line, encoding="utf-8")
    assert comparisons(tmp_path) == []


def comparisons(root: Path) -> list[str]:
    """Where the name of an exchange or algorithm is compared, by file and line."""
    found = []
    for file in sorted(root.glob("marl/**/*.py")):
        here = file.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if any(_chooses(each) and _what(each) != ANSWERS_FOR_ITSELF.get(here) for each in _decided_by(node)):
                found.append(f"{here}:{node.lineno}")  # type: ignore[attr-defined]
    return found


def _decided_by(node: ast.AST) -> list[ast.expr]:
    """What a comparison, a look-up or a match depends on."""
    match node:
        case ast.Compare(left=left, comparators=others):
            sides = [left, *others]
            constants = {text for each in sides for text in _texts(each)}
            if constants & NAMES and any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops):
                return sides
            asks_for_own = constants == {":"}  # whether a name is the import path of somebody's own
            return [] if asks_for_own else [each for each in sides if _of_object(each) or _what(each) == "learns_from"]
        case ast.Match(subject=subject, cases=cases):
            values = [each.pattern.value for each in cases if isinstance(each.pattern, ast.MatchValue)]
            named = {text for each in values for text in _texts(each)} & NAMES
            return [subject] if named or _of_object(subject) else []
        case ast.Subscript(slice=key):
            return [key] if _of_object(key) else []
        case ast.Call(func=ast.Attribute(value=value, attr="startswith" | "endswith")):
            return [value] if _of_object(value) else []
    return []


def _chooses(node: ast.expr) -> bool:
    """Whether the expression says which exchange or algorithm there is."""
    return _of_object(node) or _what(node) in {"name", "learns_from"}


def _of_object(node: ast.expr) -> bool:
    """Whether it is ``exchange.name``, however one came by the exchange; likewise of an algorithm."""
    return isinstance(node, ast.Attribute) and node.attr == "name" and _what(node.value).lstrip("_") in OBJECTS


def _what(node: ast.expr) -> str:
    """The last word of a dotted name."""
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_]):
            return name
    return ""


def _texts(node: ast.expr) -> list[str]:
    """Texts in a constant, or in a tuple, list or set of them."""
    inner = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return [each.value for each in inner if isinstance(each, ast.Constant) and isinstance(each.value, str)]
