"""The limits of an upload, by plain numbers: no message, no link."""

import math

import pytest
import torch

from marl.averaging.reach import Reach
from marl.averaging.vetting import MOST_SPEED, MOST_WORKERS, Sent, Vetting
from marl.errors import WeightsRefused

REACH = Reach(usual=0.1, most=0.7, warm_up=0.0, per_step=1.0, per_trajectory=0.0, lag=0.0)


def vetting(reach: Reach | None = None) -> Vetting:
    return Vetting(torch.zeros(4), 10.0, reach)


def test_no_worker_plays_faster_than_any_can() -> None:
    assert vetting().work(1e9, Sent("a", 2.0, workers=3)) == 2 * 3 * MOST_SPEED
    assert vetting().work(1e12, Sent("a", 2.0, workers=10**9)) == 2 * MOST_WORKERS * MOST_SPEED
    assert vetting().work(1e9, Sent("a", -1.0)) == 0


def test_without_a_clock_what_is_claimed_counts() -> None:
    assert vetting().work(1e9, Sent("a", None)) == 1e9


@pytest.mark.parametrize("claimed", [-1, math.nan, math.inf, 2**54])
def test_what_is_no_count_is_refused(claimed: float) -> None:
    with pytest.raises(WeightsRefused, match="environment steps of work"):
        vetting().work(claimed, Sent("a", None))


def test_a_delta_is_no_longer_than_the_learning_that_its_work_allows() -> None:
    """10 steps are at most 20 updates of 0.1, or of 0.7 where gradients grow."""
    shorten = vetting(REACH).shorten(Sent("a", None), 10, 10)
    assert shorten(1.0) == 1.0  # the longest of a first delta, where weights are zeros
    assert shorten(2.0) == 0.5
    with pytest.raises(WeightsRefused, match="14 long at most, got 29"):
        shorten(29.0)
    assert vetting().shorten(Sent("a", None), 10, 10)(29.0) == 1.0  # nothing is known of learning
