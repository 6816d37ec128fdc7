"""Observations outside the bounds of their space: which are, how many, and what is said of the first."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from marl.environments.describe import describe
from marl.environments.outside import Outside

TWO = spaces.Discrete(2)
INF = np.inf
COUNTED = "; it is used as it is, and counted in outside_observations"


def box(low: Any, high: Any, dtype: Any = np.float32) -> spaces.Box:
    return spaces.Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)


def outside(space: spaces.Space, *ignore: str) -> Outside:
    return Outside(space, describe(space, TWO, ignore).observations, "mine")


@pytest.mark.parametrize(
    ("space", "rows", "count", "words"),
    [
        (box([-1, -1], [1, 1]), [[-1, 1], [0, 0]], 0, ""),
        (box([-1, -1], [1, 1]), [[0, 0], [0, 1.5]], 1, "number 1 of observation is 1.5, outside its space of -1 to 1"),
        (box([-1, -1], [1, 1]), [[-3, 4], [2, 0]], 2, "number 0 of observation is -3, outside its space of -1 to 1"),
        (box([-1, 0], [1, 9]), [[0, 9], [0, 9.5]], 1, "number 1 of observation is 9.5, outside its space of 0 to 9"),
        (box([-1, 0], [1, 9]), [[0, -1e6]], 1, "number 1 of observation is -1000000, outside its space of 0 to 9"),
        (box([-INF, -1], [2, INF]), [[-9, 9], [2, -1]], 0, ""),
        (box([-INF, -1], [2, INF]), [[3, 0]], 1, "number 0 of observation is 3, outside its space of -inf to 2"),
        (box(0, 1), [[2]], 1, "observation is 2, outside its space of 0 to 1"),
        (box([[0, 0], [0, 0]], [[1, 1], [1, 1]]), [[0, 1, 2, 1]], 1, "number 2 of observation is 2, outside its"),
        (box([0, 0], [1, 1], np.uint8), [[0, 1], [2, 0]], 1, "number 0 of observation is 2, outside its space of 0"),
        (box([0, 10], [255, 255], np.uint8), [[0, 9]], 1, "number 1 of observation is 9, outside its space of 10 to"),
        (box([0], [7], np.int64), [[8], [7]], 1, "observation is 8, outside its space of 0 to 7"),
    ],
)
def test_what_is_outside(space: spaces.Box, rows: Any, count: int, words: str) -> None:
    part = describe(space, TWO).observations
    found = outside(space)
    found.look(np.array(rows, part.dtype))
    assert found.count == count
    assert found.first.startswith(f"mine: {words}") if words else not found.first
    assert found.first.endswith(COUNTED if words else "")
    found.look(np.array(rows, part.dtype)[:0])
    assert found.count == count


def test_the_first_is_kept_and_all_are_counted() -> None:
    found = outside(box([-1], [1]))
    for number, count in ((5.0, 1), (0.0, 1), (-7.0, 2)):
        found.look(np.full((3, 4, 1), [[[number]]], np.float32)[:1, :1])
        assert found.count == count
    assert "observation is 5, outside" in found.first
    found.look(np.full((3, 4, 1), 2, np.float32))  # [T, B, D]
    assert found.count == 2 + 12


@pytest.mark.parametrize(
    "space",
    [
        box([-INF, -INF], [INF, INF]),
        spaces.Box(0, 255, (8, 8, 3), np.uint8),
        spaces.Box(-1e300, 1e300, (2,), np.float64),
        spaces.Box(0, 1, (2,), bool),
        spaces.Discrete(5),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(4),
    ],
)
def test_a_leaf_that_has_no_room_outside_costs_nothing(space: spaces.Space) -> None:
    found = outside(space)
    found.look(None)  # it is not even read
    assert (found.count, found.first) == (0, "")


def test_leaves_are_named_and_an_observation_counts_once() -> None:
    space = spaces.Dict(
        camera=spaces.Box(0, 255, (2, 2, 1), np.uint8),
        arm=spaces.Tuple([spaces.Discrete(3), box([-1, -1], [1, 1])]),
        free=box([-INF], [INF]),
        clock=box(0, 1),
        name=spaces.Text(3),
    )
    found = outside(space, "name")
    rows = {
        "arm": (np.zeros((4, 1), np.int32), np.zeros((4, 2), np.float32)),
        "camera": np.zeros((4, 4), np.uint8),
        "clock": np.zeros((4, 1), np.float32),
        "free": np.full((4, 1), 1e9, np.float32),
    }
    found.look(rows)
    assert found.count == 0
    rows["arm"][1][2, 1] = -4
    rows["clock"][1:3] = 2
    found.look(rows)
    assert found.count == 2
    assert found.first == f"mine: number 1 of observation arm/1 is -4, outside its space of -1 to 1{COUNTED}"


def test_rounding_moves_nothing_outside() -> None:
    """Numbers of float64, as they came or narrowed, at bounds that float32 does not have."""
    bounds = np.array([-0.7, 0.1]), np.array([0.1, 2.3])
    found = outside(spaces.Box(*bounds, dtype=np.float64))
    for dtype in (np.float64, np.float32):
        found.look(np.stack(bounds).astype(dtype))
    assert found.count == 0
    found.look(np.stack(bounds) * 1.0001)
    assert found.count == 2
    assert "number 0 of observation is -0.70007, outside its space of -0.7 to 0.1;" in found.first


@pytest.mark.filterwarnings("error")
def test_the_largest_bounds_that_there_are_warn_of_nothing() -> None:
    most = np.finfo(np.float32).max
    looks = outside(box([-most], [most]))
    looks.look(np.array([[1.0]], np.float32))
    assert looks.count == 0
