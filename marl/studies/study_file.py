"""A study file: what it says, and the cells that follow from it.

base = "CartPole-v1"             an environment, a preset, or a TOML file beside this one
seeds = [1, 2, 3]
children = [0, 2]                0: this machine alone
divide = ["environment.per_worker"]   of a run on children, by their number
metric = "steps per child"       what cells are compared by
[settings]                       the same for all runs, as in a file for marl train
stop.steps = 200_000
[variants.ppo]                   a name, and what it changes; children = [4] are its own numbers of children
algorithm.name = "ppo"
[grid]                           every combination of these, for every variant
algorithm.learning_rate = [1e-3, 3e-3]
"""

import difflib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from marl.config.files import MAX_BYTES, toml_value
from marl.config.plain import is_tag
from marl.digests import name_of
from marl.errors import ConfigError
from marl.files import parse_toml, read_file

KEYS = ("base", "seeds", "children", "divide", "metric", "settings", "variants", "grid")
METRICS = ("score", "steps", "steps per child", "seconds")  # all but the first: until solved
BASE = "base"  # name of the only variant of a file that has none
MOST_RUNS, MOST_SEED, MOST_CHILDREN = 10_000, 2**63 - 1, 1_000
NOT_HERE = {  # settings that a study itself gives to its runs
    "seed": "name them in seeds = [1, 2, 3]",
    "report.runs": "runs lie in the study's own folder (marl study --runs FOLDER)",
}
ALIKE = {**NOT_HERE, "environment.id": "a study compares on one environment: make a study of each"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,59}")
_LONGEST = 100  # letters of a folder's name


class Cell(NamedTuple):
    """What is trained once with each seed."""

    label: str  # in tables and pictures
    folder: str  # of its runs, below that of all runs
    settings: dict[str, Any]  # by path, as TOML has them; on top of the base
    children: int


class Study(NamedTuple):
    """What a study file says."""

    path: Path
    name: str
    base: str
    seeds: tuple[int, ...]
    divide: tuple[str, ...]  # settings that a run on children divides by their number
    metric: str  # one of METRICS
    cells: tuple[Cell, ...]


def read_study(path: Path) -> Study:
    """Read a study file. Whether its settings can work is for ``plan.py``.

    Raises:
        ConfigError: it cannot be read, or says what no study can be.
    """
    try:
        tree = parse_toml(read_file(path, MAX_BYTES).decode())
    except OSError as error:
        raise ConfigError(f"cannot read the study file {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not a TOML file of a study: {error}") from error
    try:
        return _study(path, tree)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _study(path: Path, tree: Mapping[str, Any]) -> Study:
    for key in tree:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(KEYS)}; settings go to [settings]"
            raise ConfigError(f"no key of a study is called {key!r:.80}: {hint}")
    base = tree.get("base")
    if not isinstance(base, str) or not base:
        raise ConfigError(
            f"base: expected an environment, a preset or a TOML file of settings, got {_came(base)}: "
            'write base = "CartPole-v1"'
        )
    if base.endswith(".toml"):
        base = str(path.parent / base)
    if not _NAME.fullmatch(path.stem):
        raise ConfigError(f"the study's folder has the name of its file: expected {_NAMES}, got {path.stem!r:.80}")
    seeds = _numbers("seeds", tree.get("seeds"), MOST_SEED)
    children = _numbers("children", tree.get("children", [0]), MOST_CHILDREN)
    cells = tuple(_cells(tree, children, len(seeds)))
    return Study(path, path.stem, base, seeds, _divide(tree.get("divide", [])), _metric(tree), cells)


_NAMES = "a name of letters, digits, blanks and . _ + -"


def _numbers(key: str, value: Any, most: int) -> tuple[int, ...]:
    example = "[1, 2, 3]" if key == "seeds" else "[0, 2]"
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{key}: expected a list of numbers, got {_came(value)}: write {key} = {example}")
    for number in value:
        if type(number) is not int or not 0 <= number <= most:
            raise ConfigError(f"{key}: expected whole numbers from 0 to {most:,}, got {number!r:.60}")
    if double := _first_double(value):
        raise ConfigError(f"{key}: {double[0]} is given twice: leave one out")
    return tuple(value)


def _divide(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(key, str) for key in value):
        raise ConfigError(
            f'divide: expected a list of settings, got {value!r:.60}: write divide = ["environment.per_worker"]'
        )
    if double := _first_double(value):
        raise ConfigError(f"divide: {double[0]} is given twice: leave one out")
    return tuple(value)


def _metric(tree: Mapping[str, Any]) -> str:
    metric = tree.get("metric", METRICS[0])
    if metric not in METRICS:
        raise ConfigError(f"metric: expected one of {', '.join(map(repr, METRICS))}, got {metric!r:.60}")
    return str(metric)


def _cells(tree: Mapping[str, Any], children: tuple[int, ...], num_seeds: int) -> Iterator[Cell]:
    """The cells in the order of the file: variants, then the grid's combinations, then numbers of children."""
    common = _settings("settings", tree.get("settings", {}))
    variants = _variants(tree.get("variants"), children)
    grid = _grid(tree.get("grid"))
    num_places = sum(len(variant.children) for variant in variants.values())
    num_runs = num_places * math.prod(map(len, grid.values())) * num_seeds
    if num_runs > MOST_RUNS:  # a few lines can ask for more than any memory holds
        raise ConfigError(f"expected at most {MOST_RUNS:,} runs, got {num_runs:,}: make several studies")
    short = _short_keys(list(grid))
    for variant, own in variants.items():
        for key, varied in itertools.product(own.settings, grid):
            if _within(key, varied) or _within(varied, key):
                raise ConfigError(f"variants.{variant} sets {key}, which [grid] varies: leave it out of one of both")
    for (variant, own), values in itertools.product(variants.items(), itertools.product(*grid.values())):
        chosen = dict(zip(grid, values, strict=True))
        parts = [variant] if tree.get("variants") else []
        parts += [f"{short[key]}={toml_value(value)}" for key, value in chosen.items()]
        folder = _folder([variant, *(f"{key}={toml_value(value)}" for key, value in chosen.items())])
        for count in own.children:
            place = [_children_text(count)] if any(each.children != (0,) for each in variants.values()) else []
            settings = {**common, **own.settings, **chosen}
            yield Cell(", ".join([*parts, *place]) or BASE, f"{folder}/children-{count}", settings, count)


class _Variant(NamedTuple):
    settings: dict[str, Any]
    children: tuple[int, ...]


def _variants(tables: Any, children: tuple[int, ...]) -> dict[str, _Variant]:
    """
    Args:
        children: numbers of those that name none.
    """
    if tables is None:
        return {BASE: _Variant({}, children)}
    if not isinstance(tables, dict) or not tables:
        raise ConfigError(f"variants: expected at least one table, got {_came(tables)}: write [variants.NAME]")
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(f"variants: expected {_NAMES}, got {name!r:.80}")
        if not isinstance(table, dict):
            raise ConfigError(f"variants.{name}: expected a table of settings, got {table!r:.60}")
    if double := _first_double([name.casefold().strip().replace(" ", "-") for name in tables]):
        same = [name for name in tables if name.casefold().strip().replace(" ", "-") == double[0]]
        raise ConfigError(f"variants: {same[0]!r} and {same[1]!r} would share a folder: give one another name")
    return {name: _variant(f"variants.{name}", dict(table), children) for name, table in tables.items()}


def _variant(where: str, table: dict[str, Any], children: tuple[int, ...]) -> _Variant:
    own = table.pop("children", None)
    numbers = children if own is None else _numbers(f"{where}.children", own, MOST_CHILDREN)
    return _Variant(_changes(where, _settings(where, table)), numbers)


def _grid(table: Any) -> dict[str, list[Any]]:
    if table is None:
        return {}
    if not isinstance(table, dict) or not table:
        raise ConfigError(
            f"grid: expected settings with lists of values, got {_came(table)}: write key = [value, value]"
        )
    leaves = list(_leaves("grid", table))
    if double := _first_double([key for key, _ in leaves]):
        raise ConfigError(f"grid: {double[0]} is given twice: leave one out")
    grid = _changes("grid", dict(leaves))
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"grid.{key}: expected a list of at least one value, got {values!r:.60}")
        if double := _first_double([toml_value(value) for value in values]):
            raise ConfigError(f"grid.{key}: {double[0]} is given twice: leave one out")
    return grid


def _settings(where: str, table: Any) -> dict[str, Any]:
    """Settings by their path, from tables within each other or keys with dots."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table of settings, got {table!r:.60}")
    found: dict[str, Any] = {}
    for path, value in _leaves(where, table):
        if path in found:
            raise ConfigError(f"{where}: {path} is given twice: leave one out")
        if value != {} or "." in path:  # an empty section says nothing
            found[path] = value
    for path, advice in NOT_HERE.items():
        if any(_within(each, path) for each in found):
            raise ConfigError(f"{where}: {path} is not for a study file: {advice}")
    return found


def _changes(where: str, settings: dict[str, Any]) -> dict[str, Any]:
    for path, advice in ALIKE.items():
        if any(_within(each, path) for each in settings):
            raise ConfigError(f"{where}: {path} cannot vary: {advice}")
    return settings


def _leaves(where: str, tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything but tables; an empty table is a value, so that the base's can be emptied."""
    for key, value in tree.items():
        if prefix and "." in key:
            raise ConfigError(f"{where}: expected keys without dots in the table {prefix[:-1]}, got {key!r:.80}")
        if isinstance(value, dict) and value and not is_tag(value):
            yield from _leaves(where, value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _within(path: str, other: str) -> bool:
    """Whether a setting is this other one, or lies in its table."""
    return path == other or path.startswith(f"{other}.")


def _short_keys(keys: list[str]) -> dict[str, str]:
    """The last part of each key, or all of it where that says too little."""
    lasts = [key.rpartition(".")[2] for key in keys]
    enough = {last for last, count in Counter(lasts).items() if count == 1 and last != "name"}
    return {key: last if last in enough else key for key, last in zip(keys, lasts, strict=True)}


def _folder(parts: list[str]) -> str:
    """A name for a folder, the same for the same parts; different parts have different names."""
    text = ",".join([parts[0].replace(" ", "-"), *parts[1:]])
    readable = re.sub(r"[^\w.,=+-]+", "-", text, flags=re.ASCII)
    if readable == text and len(text) <= _LONGEST:
        return text
    return f"{readable[: _LONGEST - 12].rstrip('-.')}~{name_of(text.encode())[:10]}"


def _children_text(count: int) -> str:
    return "one machine" if count == 0 else f"{count} {'child' if count == 1 else 'children'}"


def _first_double(values: list[Any]) -> list[Any]:
    """The first value that is there twice, in a list; an empty one if there is none."""
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            return [value]
        seen.add(value)
    return []


def _came(value: Any) -> str:
    return "nothing" if value is None else "an empty one" if value in ([], {}) else f"{value!r:.60}"
