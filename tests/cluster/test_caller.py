"""What the thread of one child says of the tries that fail."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from marl.cluster import caller
from marl.cluster.addresses import Address
from marl.cluster.caller import Caller, Plan, Registry
from marl.errors import HandshakeRefused, LinkClosed, MarlError

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
    plan: Any = Plan(None, lambda: None, None, None, 0, None, "parent", notes.append, lambda node: None)  # type: ignore[arg-type]
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
