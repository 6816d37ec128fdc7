"""What a checkpoint says beside its tensors, checked before anything goes on from it."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from marl.errors import WeightsFileError
from marl.training.weights_file import WeightsFile

_Check = Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) in (int, float) for each in value)


def _are_told(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 3 and all(map(_is_count, value))


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= 200


def _table_of(check: _Check) -> _Check:
    return lambda value: isinstance(value, Mapping) and all(check(each) for each in value.values())


_METER: dict[str, tuple[_Check, str]] = {
    "returns": (_are_numbers, "a list of numbers"),
    "lengths": (_are_numbers, "a list of numbers"),
    "episodes": (_is_count, "a count"),
    "steps": (_is_count, "a count"),
    "updates": (_is_count, "a count"),
    "seconds": (_is_number, "seconds"),
    "first_mean": (lambda value: value is None or _is_number(value), "a number, or nothing"),
}
_ALWAYS: dict[str, tuple[_Check, str]] = {
    "steps": (_is_count, "a count"),
    "updates": (_is_count, "a count"),
    "seconds": (_is_number, "seconds"),
}
_SOMETIMES: dict[str, tuple[_Check, str]] = {
    "segment": (_is_count, "a count"),
    "epoch": (_is_count, "a count"),
    "version": (_is_count, "a count"),
    "best_mean": (lambda value: value is None or _is_number(value), "a number, or nothing"),
    "run_id": (_is_short, "a name"),
    "merged": (_table_of(_is_count), "counts"),
    "instances": (_table_of(_is_short), "names"),
    "told": (_table_of(_are_told), "what children had told"),
    "limits": (lambda value: isinstance(value, Mapping), "what is usual"),
}


def demand_resumable(file: WeightsFile, path: Path) -> None:
    """Refuse a checkpoint that nothing can go on from.

    Raises:
        WeightsFileError: its numbers are none, or missing.
    """
    meter = file.info.get("meter")
    if meter is None:  # weights, and no checkpoint: who resumes says so
        return
    if not isinstance(meter, Mapping):
        raise _damaged(path, "meter", "counts", meter)
    for where, table, checks in (("", file.info, _ALWAYS), ("meter.", meter, _METER)):
        for key, (check, expected) in checks.items():
            if not check(table.get(key)):
                raise _damaged(path, where + key, expected, table.get(key))
    for key, (check, expected) in _SOMETIMES.items():
        if key in file.info and not check(file.info[key]):
            raise _damaged(path, key, expected, file.info[key])


def _damaged(path: Path, key: str, expected: str, came: object) -> WeightsFileError:
    return WeightsFileError(f"{path} is damaged: expected {key} to be {expected}, got {came!r:.60}")
