"""What the thread of one child says of the tries that fail."""

import itertools
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from marl.cluster.trainers import caller
from marl.cluster.trainers.caller import MOST_FAULTS, SOON_S, Caller, Plan, Registry
from marl.cluster.trainers.child_metrics import FASTEST, HEAD_START_S, ChildrenMetrics
from marl.errors import HandshakeRefused, LinkClosed, TrustError
from marl.exchanges.child_reports import Report
from marl.reports.events import ChildJoined, ChildLeft, Event
from marl.wire.hello import Hello
from marl.wire.link import Link
from tests.commands import until
from tests.wire.test_hello import hello

WAIT_S = 10.0


@pytest.fixture
def failing() -> "Failing":
    return Failing()


class Failing:
    """An endpoint whose tries fail one after the other; after the last one the caller is told to stop."""

    address = "box:5050"

    def __init__(self) -> None:
        self._errors: Iterator[Exception] = iter(())
        self.over, self.closed = threading.Event(), threading.Event()

    def let(self, *errors: Exception) -> None:
        self._errors = iter(errors)

    def meet(self) -> Link:
        error = next(self._errors, None)
        if error is None:
            self.over.set()
            self.closed.wait(WAIT_S)
            raise LinkClosed("the last word")
        raise error

    def check(self) -> None:
        """Whoever comes may speak."""

    def close(self) -> None:
        self.closed.set()


def plan(side: Any, events: Any) -> Plan:
    return Plan(hello(), 0, side, "parent", events, ChildrenMetrics(), lambda: 0.0)


def notes_of(failing: Failing, *errors: Exception) -> tuple[list[str], Caller]:
    notes: list[str] = []
    failing.let(*errors)
    made = Caller(failing, 0, plan(None, SimpleNamespace(note=notes.append)), Registry())
    made.start()
    assert failing.over.wait(WAIT_S) or not made.is_alive()
    made.stop()
    made.join(WAIT_S)
    assert not made.is_alive()
    return notes, made


def test_each_trouble_of_a_child_that_never_came_is_said_once(failing: Failing) -> None:
    closed, silent = LinkClosed("box: refused"), LinkClosed("box: no answer")
    notes, made = notes_of(failing, closed, closed, closed, silent, silent, closed)
    assert notes == ["box: refused", "box: no answer", "box: refused"]
    assert made.state == "no answer"


def test_a_child_that_is_busy_is_asked_again_and_said_once(failing: Failing) -> None:
    busy = HandshakeRefused("the child is busy", permanent=False)
    notes, _ = notes_of(failing, busy, busy, busy)
    assert notes == ["box:5050: the child is busy"]


def test_a_refusal_for_good_is_said_and_not_tried_again(failing: Failing) -> None:
    failing.over.set()  # nothing to wait for: it ends by itself
    notes, made = notes_of(failing, HandshakeRefused("other weights"))
    assert notes == ["box:5050: other weights"]
    assert (made.state, made.why) == ("refused", "box:5050: other weights")


def test_a_child_with_which_the_program_fails_again_and_again_is_left_out(failing: Failing) -> None:
    failing.over.set()
    notes, made = notes_of(failing, *[ValueError("not planned")] * MOST_FAULTS)
    first = "box:5050: ValueError: not planned"
    assert notes == [first, f"{first}; 5 times within 60 s: the child is left out"]
    assert (made.state, made.why) == ("refused", notes[-1])


def test_errors_of_the_program_now_and_then_do_not_end_a_childs_part(
    failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = itertools.count(0.0, SOON_S / (MOST_FAULTS - 1))
    monkeypatch.setattr(caller, "time", SimpleNamespace(monotonic=lambda: next(now)))
    notes, made = notes_of(failing, *[ValueError("not planned")] * 3 * MOST_FAULTS)
    assert notes == ["box:5050: ValueError: not planned"]
    assert made.state == "no answer"


def test_who_comes_and_goes_is_an_event_each(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child breaks off twice, and comes back once."""
    heard: list[Event] = []
    talks = iter([LinkClosed("box: gone"), LinkClosed("box: gone again")])

    def meets() -> Any:
        if failing.over.is_set():
            failing.closed.wait(WAIT_S)
            raise LinkClosed("the last word")
        return SimpleNamespace(peer=None, close=lambda: None)

    def converses(*unused: Any, **unused_named: Any) -> None:
        error = next(talks)
        if "again" in str(error):
            failing.over.set()
        raise error

    monkeypatch.setattr(failing, "meet", meets)
    monkeypatch.setattr(
        caller, "offer", lambda *unused, **unused_named: SimpleNamespace(workers=3, cores=2, instance="i")
    )
    monkeypatch.setattr(caller, "converse", converses)
    side = SimpleNamespace(assign_rank=lambda *unused: None)
    events = SimpleNamespace(note=lambda text: None, on=heard.append)
    agreed = plan(side, events)
    made = Caller(failing, 0, agreed, Registry())
    made.start()
    assert failing.over.wait(WAIT_S)
    until(lambda: len(heard) == 4)
    made.stop()
    made.join(WAIT_S)
    joined = ChildJoined(address="box:5050", node="box:5050", workers=3)
    left = ChildLeft(address="box:5050", node="box:5050", why="box: gone")
    assert heard == [joined, left, joined, replace(left, why="box: gone again")]
    nothing = np.zeros(0, np.int64)
    agreed.metrics.hear("box:5050", Report(np.full(3, 2**50), 0, 0, {}, 0, np.zeros(0), nothing))
    assert agreed.metrics.counts(["box:5050"]).steps.tolist() == [2 * FASTEST * HEAD_START_S]  # of its cores


def test_each_handshake_says_how_long_the_run_has_trained_by_then(
    failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first meeting fails, the child comes back ten minutes later: its schedule goes on where the run is."""
    told: list[Any] = []
    refused = iter([HandshakeRefused("busy", permanent=False), HandshakeRefused("no")])

    def offers(unused: Any, offered: Hello, *more: Any, **named: Any) -> None:
        told.append(offered.elapsed_s)
        raise next(refused)

    monkeypatch.setattr(failing, "meet", lambda: SimpleNamespace(peer="box", close=lambda: None))
    monkeypatch.setattr(caller, "offer", offers)
    times = iter([60.0, 660.0])
    agreed = plan(None, SimpleNamespace(note=lambda text: None))._replace(elapsed=lambda: next(times))
    made = Caller(failing, 0, agreed, Registry())
    made.start()
    made.join(WAIT_S)
    assert not made.is_alive()
    assert told == [60.0, 660.0]


def test_a_child_that_may_speak_no_more_is_dropped_for_good(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its link is closed, which ends the conversation, and the endpoint is not asked for another."""
    talking, closed, met = threading.Event(), threading.Event(), []

    def meets() -> Any:
        met.append(1)
        return SimpleNamespace(peer="box", close=closed.set)

    def converses(*unused: Any, **unused_named: Any) -> None:
        talking.set()
        assert closed.wait(WAIT_S)
        raise LinkClosed("this side closed the link")

    def revoked() -> None:
        raise TrustError("box was revoked")

    monkeypatch.setattr(failing, "meet", meets)
    monkeypatch.setattr(
        caller, "offer", lambda *unused, **unused_named: SimpleNamespace(workers=3, cores=2, instance="i")
    )
    monkeypatch.setattr(caller, "converse", converses)
    heard: list[Event] = []
    events = SimpleNamespace(note=lambda text: None, on=heard.append)
    made = Caller(failing, 0, plan(SimpleNamespace(assign_rank=lambda *unused: None), events), Registry())
    made.check()  # nobody is in yet
    made.start()
    assert talking.wait(WAIT_S)
    made.check()
    assert not closed.is_set()
    monkeypatch.setattr(failing, "check", revoked)
    made.check()
    made.join(WAIT_S)
    assert not made.is_alive()
    assert (made.state, made.why, len(met)) == ("refused", "box was revoked", 1)
    assert heard[-1] == ChildLeft(address="box:5050", node="box", why="box was revoked")
