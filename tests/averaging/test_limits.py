"""Clipping and caps on numbers that a person can work out."""

import math

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marl.averaging.limits import NormClip, WorkCap, cap_shares
from marl.errors import WeightsRefused


def test_nothing_is_clipped_before_five_were_accepted() -> None:
    clip = NormClip(ratio=10, after=5)
    assert [clip.factor(norm, 1) for norm in (1, 1, 1, 1, 1e6)] == [1.0] * 5
    assert clip.factor(20, 1) == 0.5  # the median is 1 still
    assert clip.factor(10, 1) == 1.0


def test_norms_are_compared_by_the_root_of_their_work() -> None:
    clip = NormClip(ratio=10, after=2)
    clip.factor(3, 9)
    clip.factor(2, 4)
    assert clip.factor(1000, 10_000) == 1.0
    assert clip.factor(2000, 10_000) == 0.5


def test_standing_still_is_no_measure_for_others() -> None:
    clip = NormClip(ratio=10, after=1)
    for _ in range(20):
        assert clip.factor(0.0, 100) == 1.0
    assert clip.factor(1.0, 1) == 1.0
    assert clip.factor(5.0, 0) == 1.0
    assert clip.factor(20.0, 1) == 0.5


def test_a_minority_of_huge_norms_does_not_move_the_median() -> None:
    clip = NormClip(ratio=10, after=5)
    for step in range(500):
        clip.factor(1e12 if step % 5 == 4 else 1.0, 1)
    assert clip.factor(100, 1) == pytest.approx(0.1)


def test_a_liar_is_held_to_the_usual_speed() -> None:
    """D3: 10^12 steps claimed, its share of the mean stays below slack / (slack + 3)."""
    cap = WorkCap(slack=4, after=5)
    for _ in range(2):
        for child in "abc":
            assert cap.plausible(child, 500, 5.0) == 500
    assert cap.plausible("liar", 1e12, 5.0) == 4 * 100 * 5
    for child in "abc":
        assert cap.plausible(child, 500, 5.0) == 500


def test_an_honest_faster_child_is_believed_sooner_or_later() -> None:
    cap = WorkCap(slack=4, after=5)
    for _ in range(5):
        cap.plausible("slow", 100, 1.0)
    allowed = []
    for _ in range(20):
        cap.plausible("slow", 100, 1.0)
        allowed.append(cap.plausible("fast", 3000, 1.0))
    assert allowed[0] == 400
    assert allowed[-1] == 3000


def test_the_first_claims_have_an_absolute_bound() -> None:
    assert WorkCap(max_speed=1000).plausible("liar", 1e12, 2.0) == 2000
    assert WorkCap().plausible("child", 100, 0.0) == 0
    with pytest.raises(WeightsRefused):
        WorkCap().plausible("child", math.nan, 1.0)


@pytest.mark.parametrize(
    ("work", "max_share", "expected"),
    [
        ([1, 1, 1], 0.5, [1, 1, 1]),
        ([100, 10, 1], 0.5, [11, 10, 1]),
        ([1, 100, 10], 0.4, [1, 2, 2]),
        ([1e12, 5, 5, 0], 0.5, [10, 5, 5, 0]),
        ([7, 3], 0.5, [3, 3]),
        ([7, 0, 0], 0.5, [7, 0, 0]),
        ([], 0.5, []),
        ([0, 0], 0.5, [0, 0]),
    ],
)
def test_shares_by_hand(work: list[float], max_share: float, expected: list[float]) -> None:
    assert cap_shares(work, max_share) == pytest.approx(expected)


@given(st.lists(st.floats(1, 1e12), min_size=3, max_size=12))
@hypothesis_settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_no_share_is_above_two_over_n(work: list[float]) -> None:
    capped = cap_shares(work, 2 / len(work))
    assert max(capped) <= sum(capped) * 2 / len(work) * (1 + 1e-9)
    assert all(0 < after <= before for after, before in zip(capped, work, strict=True))
