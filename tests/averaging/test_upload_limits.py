"""Clipping and caps on numbers that a person can work out."""

import math

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marl.averaging.upload_limits import Lengths, Room, Weights, WorkCap, cap_shares
from marl.errors import WeightsRefused


def test_without_anything_known_nothing_is_clipped_before_five_were_accepted() -> None:
    lengths = Lengths(ratio=10, after=5)
    assert [lengths.factor("a", norm, 1) for norm in (1, 1, 1, 1, 1e6)] == [1.0] * 5
    assert lengths.factor("a", 20, 1) == 0.5  # the median is 1 still
    assert lengths.factor("a", 10, 1) == 1.0


def test_the_first_delta_is_bounded_by_what_learning_can_be() -> None:
    lengths = Lengths()
    room = Room(usual=4.0, most=28.0, first=100.0)
    assert lengths.factor("a", 8.0, 1, room) == 0.5
    assert lengths.factor("a", 8.0, 1, room._replace(first=2.0)) == 0.25
    assert lengths.factor("a", 8.0, 1, room._replace(explained=2.0)) == 0.75
    for _ in range(5):
        lengths.factor("a", 1.0, 1, room)
    assert lengths.factor("a", 8.0, 1, room) == 0.5  # ten times its own usual would be 10
    with pytest.raises(WeightsRefused, match="28 long at most, got 60"):
        lengths.factor("a", 60.0, 1, room)


def test_norms_are_compared_by_the_root_of_their_work() -> None:
    lengths = Lengths(ratio=10, after=2)
    lengths.factor("a", 3, 9)
    lengths.factor("b", 2, 4)
    assert lengths.factor("b", 1000, 10_000) == 1.0
    assert lengths.factor("b", 2000, 10_000) == 0.5


def test_standing_still_is_no_measure_for_others() -> None:
    lengths = Lengths(ratio=10, after=1)
    for _ in range(20):
        assert lengths.factor("b", 0.0, 100) == 1.0
    assert lengths.factor("b", 1.0, 1) == 1.0
    assert lengths.factor("b", 5.0, 0) == 1.0
    assert lengths.factor("b", 20.0, 1) == 0.5


def test_a_liar_has_no_say_in_its_own_limit() -> None:
    """One of two: with a common median, each of its lies would raise the next one's limit."""
    lengths = Lengths(ratio=10, after=2)
    lengths.factor("honest", 1.0, 1)
    lengths.factor("honest", 1.0, 1)
    for _ in range(200):
        assert lengths.factor("honest", 1.0, 1) == 1.0
        assert lengths.factor("liar", 1e6, 1) <= 1e-5


def test_a_patient_liar_is_cut_to_the_usual_length_and_named() -> None:
    """Ten times the usual, which each single upload may be, for ever."""
    lengths, room, named = Lengths(ratio=10), Room(usual=2.0, most=15.0), 0
    pulled = []
    for _ in range(40):
        lengths.factor("honest", 1.0, 1, room)
        pulled.append(9.9 * lengths.factor("liar", 9.9, 1, room))
        named += lengths.complaint("liar") is not None
        assert lengths.complaint("honest") is None
    assert max(pulled[20:]) == pytest.approx(1.0)
    assert named >= 1


def test_a_delta_beside_those_of_others_may_always_be_as_long_as_work_that_counts_makes_it() -> None:
    lengths, room = Lengths(ratio=10), Room(usual=1e3, most=1e4, floor=8.0)
    for _ in range(5):
        lengths.factor("honest", 0.01, 1, room)
    assert 100.0 * lengths.factor("liar", 100.0, 1, room) == pytest.approx(2.0)  # a quarter of the floor


def test_honest_children_that_differ_are_neither_cut_nor_named() -> None:
    """Of many workers and few, where a delta grows with its work and where with its root; one that has just come."""
    lengths, room = Lengths(ratio=10), Room(usual=8.0, most=60.0)
    for number in range(100):
        for child, norm, work in (("big", 4.0, 64), ("small", 0.25, 1), ("noisy", 2.0, 4), ("late", 6.0, 16)):
            if child == "late" and number % 30 < 20:
                continue  # it is not there, or has given up what it had learned
            assert lengths.factor(child, norm, work, room) == 1.0
            assert lengths.complaint(child) is None


def test_a_child_that_hardly_moves_does_not_tie_down_one_that_learns() -> None:
    lengths, room = Lengths(ratio=10), Room(usual=3.0, most=20.0)
    for _ in range(100):
        lengths.factor("liar", 1e-6, 1, room)
        assert lengths.factor("honest", 0.75, 1, room) == 1.0
        assert lengths.complaint("honest") is None


def test_what_was_usual_is_saved() -> None:
    lengths = Lengths(ratio=10)
    for _ in range(5):
        lengths.factor("a", 1.0, 1)
    resumed = Lengths(ratio=10)
    resumed.restore(lengths.saved())
    assert resumed.factor("a", 20.0, 1) == 0.5
    for bad in (None, [], {"a": None}, {"a": [float("nan"), -1, "x", float("inf"), None]}):
        resumed.restore(bad)
    assert resumed.factor("a", 20.0, 1) == 0.5


def believed(cap: WorkCap, child: str, claimed: float, elapsed_s: float, late: float = 0.0) -> float:
    """Of an upload that is accepted."""
    plausible = cap.plausible(child, claimed, elapsed_s, late)
    cap.remember(child, plausible, elapsed_s, late)
    return plausible


def test_a_liar_is_held_to_the_usual_speed() -> None:
    """D3: 10^12 steps claimed, its share of the mean stays below slack / (slack + 3)."""
    cap = WorkCap(slack=4, after=5)
    for _ in range(2):
        for child in "abc":
            assert believed(cap, child, 500, 5.0) == 500
    assert believed(cap, "liar", 1e12, 5.0) == 4 * 100 * 5
    for child in "abc":
        assert believed(cap, child, 500, 5.0) == 500


def test_an_honest_faster_child_is_believed_sooner_or_later() -> None:
    cap = WorkCap(slack=4, after=5)
    for _ in range(5):
        believed(cap, "slow", 100, 1.0)
    allowed = []
    for _ in range(20):
        believed(cap, "slow", 100, 1.0)
        allowed.append(believed(cap, "fast", 3000, 1.0))
    assert allowed[0] == 400
    assert allowed[-1] == 3000


def test_a_child_that_claims_little_does_not_hold_back_another() -> None:
    cap = WorkCap()
    for _ in range(20):
        believed(cap, "liar", 1, 1.0)
        honest = believed(cap, "honest", 10_000, 1.0)
    assert honest == 10_000


def test_steps_that_are_claimed_later_than_they_were_played() -> None:
    """A trajectory of 128 steps is played in 50 ms, and learned from in 4 ms: two uploads, half of its steps each."""
    cap = WorkCap()
    for _ in range(20):
        assert believed(cap, "honest", 64, 0.052, late=128) == 64
        assert believed(cap, "honest", 64, 0.002, late=128) == 64


def test_a_liar_claims_such_steps_once() -> None:
    cap = WorkCap(slack=4)
    for _ in range(11):
        assert believed(cap, "liar", 100, 1.0, late=128) == 100
    claimed = [believed(cap, "liar", 1e9, 1.0, late=128) for _ in range(4)]
    assert claimed == [4 * 100 + 128, 4 * 100, 4 * 100, 4 * 100]


def test_work_far_above_the_others_counts_no_more() -> None:
    weights = Weights()
    for _ in range(5):
        for child, work, counts in (("a", 100, 100), ("liar", 1e9, 800), ("b", 0, 0)):
            assert weights.weigh(child, work) == counts
            weights.remember(child, work)


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
