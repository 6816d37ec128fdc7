"""Moments that no optimizer can have are refused, each with its reason."""

import math

import pytest
import torch

from marl.averaging.moments import bound_mean, check_moment
from marl.errors import WeightsRefused


def test_lengths_of_what_is_usable() -> None:
    assert check_moment(torch.tensor([3.0, -4.0]), squared=False, most=5.0) == 5.0
    assert check_moment(torch.tensor([3.0, 4.0]), squared=True, most=7.0) == 7.0
    assert check_moment(torch.zeros(0), squared=True, most=0.0) == 0.0


@pytest.mark.parametrize(
    ("numbers", "squared", "reason"),
    [
        ([1.0, math.nan], False, "finite"),
        ([1.0, math.nan], True, "finite"),
        ([math.inf, -math.inf], False, "finite"),
        ([math.inf, 0.0], True, "finite"),
        ([1e30, 0.0], False, "nearly"),
        ([2.0, -1e-9], True, "at least 0"),
        ([3.0, 4.1], False, "5 long at most, got 5.08"),
        ([3.0, 2.1], True, "5 long at most, got 5.1"),
    ],
)
def test_what_no_optimizer_has_is_refused(numbers: list[float], squared: bool, reason: str) -> None:
    with pytest.raises(WeightsRefused, match=reason):
        check_moment(torch.tensor(numbers), squared=squared, most=5.0)


def test_a_mean_gradient_is_bounded_by_the_root_of_the_mean_square() -> None:
    mean, square = torch.tensor([5.0, -5.0, 1.0, -1.0, 7.0]), torch.tensor([4.0, 4.0, 4.0, 4.0, 0.0])
    bound_mean(mean, square, 2.0)
    assert mean.tolist() == [4.0, -4.0, 1.0, -1.0, 0.0]
    assert square.tolist() == [4.0, 4.0, 4.0, 4.0, 0.0]
