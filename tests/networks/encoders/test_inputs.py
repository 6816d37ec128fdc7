"""What hidden layers see: numbers as they are, a 1 for each category that holds."""

import pytest
import torch

from marl.data.spaces import Part
from marl.networks.encoders.inputs import Inputs

TREE = {"arm": Part((2,)), "tool": Part((), "int32", (3,), (0,)), "dials": Part((2,), "int32", (2, 4), (0, 0))}


def test_one_array_is_seen_as_it_is() -> None:
    rows = torch.randn(5, 2)
    see = Inputs(Part((2,)))
    assert (see.size, see.is_one) == (2, True)
    assert see(rows) is rows


def test_pixels_are_numbers_from_0_to_1() -> None:
    seen = Inputs(Part((2, 2), "uint8"))(torch.tensor([[0, 51, 255, 102]], dtype=torch.uint8))
    assert seen.tolist() == [pytest.approx([0.0, 0.2, 1.0, 0.4])]


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_a_tree_in_its_own_order(leading: tuple[int, ...]) -> None:
    values = {
        "dials": torch.tensor([1, 2], dtype=torch.int32).expand(*leading, 2),
        "tool": torch.tensor([2], dtype=torch.int32).expand(*leading, 1),
        "arm": torch.tensor([0.5, -7.0]).expand(*leading, 2),
    }
    see = Inputs(TREE)
    seen = see(values)
    assert seen.shape == (*leading, see.size) == (*leading, 11)
    assert seen.reshape(-1, 11)[0].tolist() == [0.5, -7.0, 0, 0, 1, 0, 1, 0, 0, 1, 0]


def test_no_category_is_seen_that_there_is_not() -> None:
    with pytest.raises(RuntimeError):
        Inputs(Part((), "int32", (3,), (0,)))(torch.tensor([[3]]))
