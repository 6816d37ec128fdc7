"""Who is waited for and how long, as a table: children with so many seconds behind them, and a clock in numbers."""

from collections import deque

import pytest

from marl.exchanges.member import STILL, Member
from marl.exchanges.weights.rounds import Round
from tests.exchanges.nodes import Clock, Waiting, flushed, join, make_parent, merged_count, weights

OPENED = 100.0


def member(
    name: str = "a", seconds: tuple[float, ...] = (), transfers: tuple[float, ...] = (), **more: object
) -> Member:
    """A child that was there before the round and moved when it began."""
    known = {"live": True, "answered_at": OPENED, "moved_at": OPENED, "joined_in": 0, **more}
    return Member(name, seconds=deque(seconds, 5), transfers=deque(transfers, 5), **known)  # type: ignore[arg-type]


def open_round(number: int = 7, first_upload_after: float | None = None) -> Round:
    opened = Round(number, OPENED)
    opened.first_upload_at = None if first_upload_after is None else OPENED + first_upload_after
    return opened


@pytest.mark.parametrize(
    ("usual", "expected"),
    [
        ([4.0], 6.0),
        ([2.0, 4.0, 6.0], 6.0),
        ([2.0, 4.0, 6.0, 8.0], 6.0),  # of two in the middle the faster: half of the children are done by then
        ([2.0, 50.0], 3.0),
        ([0.1, 0.2], 1.0),
        ([2.0 / 3.0], 1.0),
        ([0.8], 1.2),
    ],
)
def test_stragglers_are_flushed_after_one_and_a_half_times_what_is_usual(usual: list[float], expected: float) -> None:
    children = [member(f"child-{number}", (each,)) for number, each in enumerate(reversed(usual))]
    assert open_round().flush_at(children) == pytest.approx(OPENED + expected)


def test_what_is_usual_is_a_median_of_those_who_are_here() -> None:
    children = [
        member("a", (4.0, 4.0, 90.0)),
        member("new"),
        member("gone", (0.1,), live=False),
        member("gone-too", (0.1,), live=False),
    ]
    assert open_round().flush_at(children) == OPENED + 6.0


@pytest.mark.parametrize(("arrival", "expected"), [(0.5, 10.0), (3.0, 10.0), (4.0, 12.0), (20.0, 60.0)])
def test_in_the_first_round_the_first_arrival_says_what_is_usual(arrival: float, expected: float) -> None:
    first = open_round(0)
    assert first.flush_at([member(), member("b")]) is None
    first.first_upload_at = OPENED + arrival
    first.changed()
    assert first.flush_at([member(uploaded=True), member("b")]) == OPENED + expected


@pytest.mark.parametrize(
    ("transfers", "grace"),
    [([()], 1.0), ([(0.4,)], 1.0), ([(0.5,)], 1.0), ([(3.0, 3.0, 90.0)], 6.0), ([(1.0,), (2.0,)], 4.0)],
)
@pytest.mark.parametrize(("arrival", "flush"), [(1.0, 6.0), (9.0, 9.0)])
def test_after_the_flush_there_is_time_for_two_transfers(
    transfers: list[tuple[float, ...]], grace: float, arrival: float, flush: float
) -> None:
    """The deadline counts only children that have not uploaded. A first upload after the flush starts it again."""
    stragglers = [member(f"child-{number}", (), each) for number, each in enumerate(transfers)]
    children = [*stragglers, member("done", (4.0,), (50.0,), uploaded=True)]
    assert open_round(first_upload_after=arrival).close_at(children, OPENED + 7) == OPENED + flush + grace


def test_a_round_without_an_upload_stays_open() -> None:
    children = [member("a", (4.0,), moved_at=OPENED + 999), member("b", (4.0,), moved_at=OPENED + 999)]
    opened = open_round()
    assert opened.flush_at(children) == OPENED + 6.0
    assert opened.close_at(children, OPENED + 1000) is None
    assert not opened.complete(children, OPENED + 1000)


@pytest.mark.parametrize(
    ("number", "changes", "after", "expected"),
    [
        (7, {}, 29.9, True),
        (7, {}, 30.0, False),
        (7, {"moved_at": OPENED + 10}, 39.9, True),
        (7, {"moved_at": OPENED + 10}, 40.0, False),
        (7, {"moved_at": OPENED - 60}, 29.9, True),  # it waited for its answer, with a barrier
        (7, {"live": False}, 1.0, False),
        (7, {"uploaded": True}, 1.0, False),
        (7, {"joined_in": 6}, 1.0, True),
        (7, {"joined_in": 7}, 1.0, False),
        (0, {"joined_in": 0}, 1.0, True),
        (7, {"quarantined_until": 7}, 1.0, True),
        (7, {"quarantined_until": 8}, 1.0, False),
    ],
)
def test_who_is_waited_for(number: int, changes: dict[str, float], after: float, expected: bool) -> None:
    one, opened = member(**changes), open_round(number)
    assert STILL == 30
    assert opened.waits_for(one, OPENED + after) is expected
    assert opened.complete([one], OPENED + after) is not expected


def test_where_children_are_counted_time_says_nothing() -> None:
    opened = Round(7, OPENED, 2)
    opened.first_upload_at = OPENED
    children = [member("a", (1.0,), uploaded=True), member("b", (1.0,), live=False)]
    assert opened.flush_at(children) is None
    assert opened.close_at(children, OPENED + 1000) is None
    assert not opened.complete(children, OPENED + 1000)
    children[1].uploaded = True
    assert opened.complete(children, OPENED + 1000)


@pytest.mark.parametrize("plays", [True, False])
def test_a_child_whose_environments_stand_still_is_not_waited_for(plays: bool, clock: Clock) -> None:
    """Its link lives and its reports come; what counts is whether they tell of steps."""
    parent = make_parent(weights(0.0), clock)
    steady, other = join(parent, clock, "steady", "other")
    clock.now += 5
    parent.answer("other", flushed(other)[0])
    clock.now += STILL - 6
    other.learn(0.0, int(plays))
    parent.answer("other", flushed(other)[0])
    steady.learn(1.0, 10)
    clock.now += 1
    waiting = Waiting(parent, steady.upload())
    if plays:
        merged_count(parent, 1)
        assert parent.current.version == 0
        parent.leave("other")
    steady.take(waiting.answer())
    assert parent.current.version == 1
