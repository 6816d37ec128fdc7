"""What a network sees of observations: one box as before, of a tree the measured numbers normalised."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces

from marl.data.layout import Leaf, Tree
from marl.data.normalizer import Normalizer, RunningStatistics
from marl.data.preprocess import Preprocess
from marl.data.spaces import Spaces, describe

BOX = describe(gym_spaces.Box(-1, 1, (2,), np.float64), gym_spaces.Discrete(2))
TOOLS = Leaf((1,), torch.int64, (4,))
MEAN, DEVIATION = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])


class Tool(Spaces):
    """Which tool is held, and three lengths in two parts."""

    @property
    def raw(self) -> Tree:
        return {"tool": TOOLS, "arm": Leaf((2,), torch.float64), "hand": Leaf((1,), torch.float64)}

    def observation(self, *, normalized: bool = False) -> Tree:
        return {"tool": TOOLS, "arm": Leaf((2,), torch.float32), "hand": Leaf((1,), torch.float32)}


TOOL = Tool(*BOX)


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
    assert (seen["tool"].dtype, seen["hand"].dtype) == (np.int64, np.float32)


def test_a_tree_is_narrowed_leaf_by_leaf() -> None:
    seen = Preprocess(TOOL)(rows(), None)
    assert [each.dtype.name for each in seen.values()] == ["int64", "float32", "float32"]
