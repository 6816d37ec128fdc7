"""What a network sees of observations: one box as before, of a tree the measured numbers normalised."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces as gym_spaces

from marl.data.normalizer import Normalizer, RunningStatistics
from marl.data.preprocess import Preprocess
from marl.data.spaces import Part, Spaces
from marl.environments.describe import describe

BOX = describe(gym_spaces.Box(-1, 1, (2,), np.float64), gym_spaces.Discrete(2))
MEAN, DEVIATION = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])


TOOL = Spaces(
    {"tool": Part((1,), "int32", (4,), (0,)), "arm": Part((2,), "float64"), "hand": Part((1,), "float64")}, BOX.actions
)


def rows() -> Any:
    return {"tool": np.array([[3], [1]]), "arm": np.array([[1.0, 4.0], [2.0, 2.0]]), "hand": np.array([[7.0], [3.0]])}


def normalizer(size: int) -> Normalizer:
    made = Normalizer(size)
    made.use(RunningStatistics(10.0, MEAN[:size], 10 * DEVIATION[:size] ** 2))
    return made


def test_a_box_is_narrowed() -> None:
    seen = Preprocess(BOX)(np.array([[0.5, 1e-9]]), None)
    assert seen.dtype == np.float32
    assert seen.tolist() == [[0.5, np.float32(1e-9)]]


def test_a_box_is_normalised_before_it_is_narrowed() -> None:
    wide = np.array([[1.0 + 1e-9, 2.0]])
    seen = Preprocess(BOX)(wide, normalizer(2))
    assert seen.dtype == np.float32
    assert seen[0] == pytest.approx([1e-9, 0.0], rel=1e-6)


def test_the_numbers_of_a_box_are_its_own_rows() -> None:
    numbers = np.ones((3, 2))
    assert Preprocess(BOX).numbers(numbers) is numbers


def test_categories_have_no_mean() -> None:
    preprocess = Preprocess(TOOL)
    assert preprocess.numbers(rows()).tolist() == [[1.0, 4.0, 7.0], [2.0, 2.0, 3.0]]
    seen = preprocess(rows(), normalizer(3))
    assert seen["tool"].tolist() == [[3], [1]]
    assert seen["arm"].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert seen["hand"].tolist() == [[1.0], [0.0]]
    assert (seen["tool"].dtype, seen["hand"].dtype) == (np.int32, np.float32)


def test_a_tree_is_narrowed_leaf_by_leaf() -> None:
    seen = Preprocess(TOOL)(rows(), None)
    assert [each.dtype.name for each in seen.values()] == ["int32", "float32", "float32"]


def test_pixels_have_no_mean_and_stay_bytes() -> None:
    spaces = describe(
        gym_spaces.Dict({"camera": gym_spaces.Box(0, 255, (2, 2, 1), np.uint8), "arm": gym_spaces.Box(-9, 9, (1,))}),
        gym_spaces.Discrete(2),
    )
    seen = Preprocess(spaces)({"camera": np.full((3, 4), 7, np.uint8), "arm": np.ones((3, 1))}, normalizer(1))
    assert (spaces.measured_size, seen["camera"].dtype, seen["camera"][0, 0]) == (1, np.uint8, 7)
    assert seen["arm"].tolist() == [[0.0]] * 3


def test_where_nothing_is_measured_nothing_is_normalised() -> None:
    spaces = describe(gym_spaces.Discrete(4, start=2), gym_spaces.Discrete(2))
    preprocess = Preprocess(spaces)
    assert preprocess.numbers(np.array([[0], [3]])).shape == (2, 0)
    assert preprocess(np.array([[0], [3]], np.int32), normalizer(0)).tolist() == [[0], [3]]
