"""Spaces, statistics and counts out of a file, which may say anything."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from marl.data.layout import leaves
from marl.data.normalizer import RunningStatistics, from_row, num_columns
from marl.data.spaces import DEEPEST, MOST_NUMBERS, Part, Parts, Spaces, mask_sizes

HELD = ("float32", "float64", "uint8")
WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def as_plain(spaces: Spaces) -> dict[str, Any]:
    """Spaces as lists, texts and numbers; the inverse of ``read_spaces``."""
    return {"observations": _plain(spaces.observations), "actions": _plain(spaces.actions)}


def read_spaces(tree: Any) -> Spaces:
    """The inverse of ``as_plain``; also what files of version 0.1 hold, which know one array and one action.

    Raises:
        ValueError: no environment can have such spaces.
    """
    _demand(isinstance(tree, Mapping), "spaces")
    try:
        if set(tree) != {"observations", "actions"}:
            tree = _of_one_array(tree)
        spaces = Spaces(_read(tree["observations"]), _read(tree["actions"]))
    except (TypeError, KeyError) as error:
        raise ValueError(f"expected spaces, {type(error).__name__}: {error}") from None
    seen, acts = leaves(spaces.observations), leaves(spaces.actions)
    fault = spaces.fault()
    _demand(fault is None, fault or "")
    _demand(not any(part.low or part.high for part in seen), "bounds of actions alone")
    _demand(
        sum(part.mask for part in (*seen, *acts)) == (spaces.mask is not None), "one mask, an entry of observations"
    )
    if spaces.mask is not None:
        sizes = (2,) * sum(mask_sizes(spaces.actions))
        _demand(spaces.observations[spaces.mask].categories == sizes, "a mask with a number for each category")
        _demand(len(spaces.observations) > 1, "observations beside the mask")
    for part in acts:
        _demand(len(part.low) == len(part.high) == (0 if part.categories else part.size), "bounds of every action")
        for low, high in zip(part.low, part.high, strict=True):
            _demand(low <= high, "bounds of actions that are numbers, the lower one first")
    return spaces


def _plain(parts: Parts) -> Any:
    if isinstance(parts, dict):
        return {"dict": [[name, _plain(each)] for name, each in parts.items()]}
    if type(parts) is tuple:
        return {"tuple": [_plain(each) for each in parts]}
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in parts._asdict().items()}
    return {key: value for key, value in fields.items() if value or key not in ("mask", "frames")}


def _read(tree: Any, depth: int = 0) -> Parts:
    _demand(isinstance(tree, Mapping) and depth <= DEEPEST, f"spaces, nested at most {DEEPEST} times")
    if "dict" in tree:
        pairs = [(name, _read(each, depth + 1)) for name, each in tree["dict"]]
        _demand(all(isinstance(name, str) for name, _ in pairs), "names of entries")
        names = [name for name, _ in pairs]
        _demand(len(set(names)) == len(names), "entries of different names")
        _demand(names == sorted(names), "entries in the order of their names")  # as weights know them
        return dict(pairs)
    if "tuple" in tree:
        return tuple(_read(each, depth + 1) for each in tree["tuple"])
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list | tuple) else value for key, value in tree.items()
    }
    part = Part(**fields)
    lists = (part.shape, part.categories, part.starts, part.low, part.high)
    _demand(all(isinstance(each, tuple) for each in lists), "lists of lengths and of bounds")
    _demand(all(type(number) is int for each in lists[:3] for number in each), "whole numbers of everything")
    _demand(all(type(number) in (int, float) for each in lists[3:] for number in each), "bounds that are numbers")
    _demand(min(part.shape, default=1) >= 1 and part.size <= MOST_NUMBERS, "at least one number of everything")
    _demand(type(part.mask) is bool, "a mask or none")
    _demand(type(part.frames) is int and part.frames in (0, *part.shape[:1]), "frames in the first dimension")
    _demand(part.dtype in (WHOLE if part.categories else HELD), "numbers of a type that there is")
    _demand(
        len(part.categories) == len(part.starts) == (part.size if part.categories else 0), "categories of each number"
    )
    _demand(min(part.categories, default=1) >= 1, "at least one category")
    return part


def _of_one_array(old: Mapping[str, Any]) -> dict[str, Any]:
    """The spaces of an older file, in today's form."""
    known = {key: old[key] for key in ("observation_shape", "num_actions", "action_shape", "action_start")}
    known |= {key: old[key] for key in ("action_low", "action_high")}
    wide, dtype = old.get("observation_wide", False), old.get("observation_dtype", "float32")
    _demand(type(wide) is bool and set(old) <= {*known, "observation_wide", "observation_dtype"}, "spaces")
    seen = {"shape": known["observation_shape"], "dtype": "float64" if wide else dtype}
    count, start = known["num_actions"], known["action_start"]
    _demand(type(count) is int and count >= 0, "whole numbers of everything")
    if count:
        _demand(not known["action_shape"] and not known["action_low"], "actions that are either counted or measured")
        return {
            "observations": seen,
            "actions": {"shape": [], "dtype": "int32", "categories": [count], "starts": [start]},
        }
    acts = {"shape": known["action_shape"], "low": known["action_low"], "high": known["action_high"]}
    return {"observations": seen, "actions": acts}


def read_statistics(row: np.ndarray, size: int) -> RunningStatistics:
    """Statistics of observations of ``size`` numbers.

    Raises:
        ValueError: these are none.
    """
    _demand(row.shape == (num_columns(size),), f"statistics of {size} numbers")
    statistics = from_row(row.astype(np.float64))
    _demand(bool(np.isfinite(row).all()) and statistics.count >= 0, "statistics that are finite")
    _demand(bool((statistics.m2 >= 0).all()), "squared deviations of at least 0")
    return statistics


def is_count(value: Any) -> bool:
    """Whether it can be a number of steps, or of anything else that is counted."""
    return type(value) is int and 0 <= value < 2**63


def _demand(holds: bool, expected: str) -> None:
    if not holds:
        raise ValueError(f"expected {expected}")
