"""The observations exchange: questions and the answers to them, each for the one that asked."""

import sys
import threading
from typing import Any

import pytest

from marl.acting.decide import Question
from marl.data.node import bell
from marl.data.requests import ASKED, BEGUN, BELL
from marl.errors import MessageRefused
from marl.exchanges.child_reports import EVERY
from marl.exchanges.observations.child import LONGEST_PAUSE, SHORTEST_PAUSE
from marl.exchanges.observations.settings import PER_MESSAGE
from marl.wire.message import Kind
from tests.commands import PATIENCE_S
from tests.exchanges.nodes import Clock
from tests.exchanges.observers import (
    ENVIRONMENTS,
    EVERYBODY,
    LENGTH,
    Child,
    Parent,
    Sure,
    everyone_asks,
    joined,
    play,
    turn,
)


def test_nobody_asks_before_a_parent_is_there() -> None:
    child = Child()
    everyone_asks(child, 0.0, first=True)
    assert child.uploads() == []
    Parent().join(child)
    assert child.side.started.is_set()
    assert len(child.uploads()) == 1


def test_every_request_slot_gets_its_own_actions() -> None:
    parent, child = joined()
    for number, (worker, group) in enumerate(EVERYBODY):
        child.ask(worker, group, float(number), first=True)
    (upload,) = child.uploads()
    assert [child.answered(*place) for place in EVERYBODY] == [None] * 4
    child.take(parent.answer(upload))
    assert [child.answered(*place) for place in EVERYBODY] == [[number] * ENVIRONMENTS for number in range(4)]
    assert isinstance(parent.network, Sure)
    assert len(parent.network.calls) == 1  # one pass
    assert child.uploads() == []


@pytest.mark.skipif(sys.platform != "linux", reason="others look again and again")
def test_an_answer_wakes_the_worker_that_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "_LONGEST", bell._Timespec(60, 0))  # it does not look by itself
    parent, child = joined()
    asked = threading.Event()
    child.ask(1, 1, 5.0, first=True)
    waiting = threading.Thread(
        target=bell.Bell(child.counts[1, 0, BELL:]).wait_for,
        args=(lambda: asked.set() or child.answered(1, 1) is not None,),
        daemon=True,
    )
    waiting.start()
    assert asked.wait(PATIENCE_S)
    (upload,) = child.uploads()
    child.take(parent.answer(upload))
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()


def test_several_messages_are_under_way_and_answers_say_which_they_answer() -> None:
    parent, child = joined()
    uploads = []
    for number, (worker, group) in enumerate(EVERYBODY):
        child.ask(worker, group, float(number), first=True)
        uploads += child.uploads()
    assert [each.counter for each in uploads] == [1, 2, 3, 4]
    answers = [parent.answer(upload) for upload in uploads]
    for place, answer in zip(reversed(EVERYBODY), reversed(answers), strict=True):  # even out of order
        child.take(answer)
        assert child.answered(*place) == [EVERYBODY.index(place)] * ENVIRONMENTS


def test_more_requests_than_fit_in_a_message_travel_in_several() -> None:
    parent, child = Parent(), Child(workers=PER_MESSAGE)
    parent.join(child)
    everyone_asks(child, 1.0, first=True)
    uploads = child.uploads()
    assert [len(each.arrays["requests"]) for each in uploads] == [PER_MESSAGE, PER_MESSAGE]
    for upload in uploads:
        child.take(parent.answer(upload))
    assert all(child.answered(worker, group) for worker in range(PER_MESSAGE) for group in range(2))


def test_an_answer_to_a_worker_that_was_replaced_is_for_nobody() -> None:
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True)
    (old,) = child.uploads()
    child.ask(0, 0, 2.0, first=True)  # its successor
    child.take(parent.answer(old))
    assert child.answered(0, 0) is None
    turn(parent, child)
    assert child.answered(0, 0) == [2] * ENVIRONMENTS


def test_a_request_slot_that_is_being_written_to_does_not_travel() -> None:
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True)
    child.ask(0, 1, 2.0, first=True)
    child.counts[0, 0, BEGUN] += 1  # the successor of a killed worker is at it
    (upload,) = child.uploads()
    assert len(upload.arrays["requests"]) == 1
    child.take(parent.answer(upload))
    assert (child.answered(0, 0), child.answered(0, 1)) == (None, [2] * ENVIRONMENTS)
    child.counts[0, 0, ASKED] += 1
    turn(parent, child)
    assert child.answered(0, 0) == [1] * ENVIRONMENTS


def test_what_has_been_sent_may_be_written_to() -> None:
    """A link may still be reading when a worker has its actions from elsewhere, or has been replaced."""
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True)
    (upload,) = [each for each in child.side.outgoing() if each.kind is Kind.UPLOAD]
    child.requests[0]["observations"][:] = 3.0
    child.take(parent.answer(upload))
    assert child.answered(0, 0) == [1] * ENVIRONMENTS


def test_another_conversation_asks_again_and_begins_anew() -> None:
    parent, child = joined()
    child.ask(0, 0, 0.0, first=True)
    turn(parent, child)
    play(parent, child, 1.0)
    child.ask(0, 0, 2.0)
    (lost,) = child.uploads()
    parent.answer(lost)  # it arrived, but its answer does not
    steps = parent.side.steps
    parent.side.leave(child.name)
    assert parent.side.num_live() == 0
    assert child.name not in parent.side._workspaces  # its streams are dropped
    child.side.left()
    child.side.joined()
    parent.join(child)
    (again,) = child.uploads()
    child.take(parent.answer(again))
    assert child.answered(0, 0) == [2] * ENVIRONMENTS
    assert parent.side.steps == steps  # counted once
    for step in range(3, 3 + LENGTH):
        play(parent, child, float(step))
    (trajectory,) = parent.queued()
    assert trajectory.observations[:, 0, 0].tolist() == [2, 3, 4, 5]  # nothing of before


def test_a_late_answer_of_an_older_conversation_is_not_taken() -> None:
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True)
    (lost,) = child.uploads()
    answer = parent.answer(lost)
    child.side.joined()
    with pytest.raises(MessageRefused, match="nothing was asked"):
        child.take(answer)
    assert child.answered(0, 0) is None


def test_the_longer_nothing_comes_the_seldomer_it_looks() -> None:
    clock = Clock()
    parent, child = Parent(), Child(clock=clock)
    parent.join(child)
    child.ask(0, 0, 0.0, first=True)
    child.uploads()
    assert child.side.pause() == SHORTEST_PAUSE
    clock.now += 0.01
    assert child.side.pause() == pytest.approx(0.001)
    clock.now += 10
    assert child.side.pause() == LONGEST_PAUSE
    child.ask(0, 1, 0.0, first=True)
    child.uploads()
    assert child.side.pause() == SHORTEST_PAUSE


def test_it_reports_as_often_as_it_is_told() -> None:
    clock = Clock()
    parent, child = Parent(), Child(clock=clock)
    parent.join(child)
    clock.now += 2 * EVERY
    assert [each.kind for each in child.side.outgoing()] == [Kind.TELEMETRY]
    assert [each.kind for each in child.side.outgoing()] == []


def test_a_request_is_a_whole_message() -> None:
    """So that what travels together is decided together."""
    parent, child = joined()
    sizes: list[int] = []
    serve = parent.batcher._serve

    def watched(requests: list[Question]) -> Any:
        sizes.extend(len(each.observations) for each in requests)
        return serve(requests)

    parent.batcher._serve = watched
    everyone_asks(child, 0.0, first=True)
    turn(parent, child)
    assert sizes == [4 * ENVIRONMENTS]
