"""What the thread of one child says of the tries that fail."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from marl.cluster.addresses import Address
from marl.cluster.trainers import caller
from marl.cluster.trainers.caller import Caller, Plan, Registry
from marl.errors import HandshakeRefused, LinkClosed, MarlError
from marl.reports.events import ChildJoined, ChildLeft, Event
from tests.commands import until
from tests.wire.test_hello import hello

WAIT_S = 10.0


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> "Failing":
    made = Failing()
    monkeypatch.setattr(caller, "connect", made)
    monkeypatch.setattr(caller, "SHORTEST_BREAK", 0.001)
    return made


class Failing:
    """Connects that fail one after the other; after the last one the caller is told to stop."""

    def __init__(self) -> None:
        self._errors: Iterator[MarlError] = iter(())
        self.over = threading.Event()

    def let(self, *errors: MarlError) -> None:
        self._errors = iter(errors)

    def __call__(self, *unused: Any) -> None:
        error = next(self._errors, None)
        if error is None:
            self.over.set()
            raise LinkClosed("the last word")
        raise error


def notes_of(failing: Failing, *errors: MarlError) -> tuple[list[str], Caller]:
    notes: list[str] = []
    failing.let(*errors)
    events = SimpleNamespace(note=notes.append)
    plan: Any = Plan(None, lambda: None, None, None, 0, None, "parent", events, lambda node: None)  # type: ignore[arg-type]
    made = Caller(Address("box", 5050), 0, plan, Registry())
    made.start()
    assert failing.over.wait(WAIT_S) or not made.is_alive()
    made.stop()
    made.join(WAIT_S)
    assert not made.is_alive()
    return [note for note in notes if note != "the last word"], made


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


def test_who_comes_and_goes_is_an_event_each(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child breaks off twice, and comes back once."""
    heard: list[Event] = []
    talks = iter([LinkClosed("box: gone"), LinkClosed("box: gone again")])

    def connects(*unused: Any) -> Any:
        if failing.over.is_set():
            raise LinkClosed("the last word")
        return SimpleNamespace(peer=None, close=lambda: None)

    def converses(*unused: Any, **unused_named: Any) -> None:
        error = next(talks)
        if "again" in str(error):
            failing.over.set()
        raise error

    monkeypatch.setattr(caller, "connect", connects)
    monkeypatch.setattr(caller, "offer", lambda *unused, **unused_named: SimpleNamespace(workers=3, instance="i"))
    monkeypatch.setattr(caller, "converse", converses)
    side = SimpleNamespace(assign_rank=lambda *unused: None)
    events = SimpleNamespace(note=lambda text: None, on=heard.append)
    plan: Any = Plan(None, lambda: None, None, hello(), 0, side, "parent", events, lambda node: None)  # type: ignore[arg-type]
    made = Caller(Address("box", 5050), 0, plan, Registry())
    made.start()
    assert failing.over.wait(WAIT_S)
    until(lambda: len(heard) == 4)
    made.stop()
    made.join(WAIT_S)
    joined = ChildJoined(address="box:5050", node="box:5050", workers=3)
    left = ChildLeft(address="box:5050", node="box:5050", why="box: gone")
    assert heard == [joined, left, joined, replace(left, why="box: gone again")]
