"""Spaces, statistics and counts out of a file, which may say anything."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from marl.data.normalizer import RunningStatistics, from_row, num_columns
from marl.data.spaces import Spaces

MAX_OBSERVATION = 1 << 24  # numbers of one observation
MAX_ACTIONS = 1 << 20


def read_spaces(tree: Any) -> Spaces:
    """The inverse of ``Spaces._asdict``.

    Raises:
        ValueError: no environment can have such spaces.
    """
    if not isinstance(tree, Mapping) or not set(tree) <= set(Spaces._fields):
        raise ValueError("expected spaces")
    try:
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in tree.items()
        }
        spaces = Spaces(**fields)
    except TypeError as error:
        raise ValueError(str(error)) from None
    counts = (spaces.num_actions, *_tuple(spaces.observation_shape), *_tuple(spaces.action_shape))
    _demand(all(type(count) is int for count in (*counts, spaces.action_start)), "whole numbers of everything")
    _demand(min(spaces.observation_shape, default=1) >= 1, "observations of at least one number")
    _demand(spaces.observation_size <= MAX_OBSERVATION, f"observations of at most {MAX_OBSERVATION:,} numbers")
    _demand(0 <= spaces.num_actions <= MAX_ACTIONS, f"0 to {MAX_ACTIONS:,} actions")
    _demand(abs(spaces.action_start) < 1 << 31, "a first action of at most 31 bits")
    _demand(spaces.observation_dtype in ("float32", "uint8"), "observations of float32 or uint8")
    _demand(type(spaces.observation_wide) is bool, "observations that are wide, or not")
    bounds = _tuple(spaces.action_low), _tuple(spaces.action_high)
    size = 0 if spaces.discrete else math.prod(spaces.action_shape)
    _demand(all(len(each) == size for each in bounds) and size >= (not spaces.discrete), "bounds of every action")
    for low, high in zip(*bounds, strict=True):
        numbers = all(isinstance(each, (int, float)) for each in (low, high))
        _demand(numbers and low <= high, "bounds of actions that are numbers, the lower one first")
    _demand(not spaces.discrete or not spaces.action_shape, "actions that are either counted or measured")
    return spaces


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


def _tuple(value: Any) -> tuple[Any, ...]:
    _demand(isinstance(value, tuple), "lists of lengths and of bounds")
    return tuple(value)


def _demand(holds: bool, expected: str) -> None:
    if not holds:
        raise ValueError(f"expected {expected}")
