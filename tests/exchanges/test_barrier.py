"""Where workers wait while weights travel: one that never comes to rest must not hold its child for ever."""

import threading
import time
from collections.abc import Callable

import pytest
import torch

from marl.data.node.memory import STEPS, array
from marl.errors import LinkClosed
from marl.exchanges.conversation import report
from marl.exchanges.member import STILL
from marl.links.memory import memory_pair
from marl.wire.message import Kind, Message
from marl.wire.receive_buffers import new_buffers
from tests.exchanges.nodes import Child, Clock, arrives, join, make_parent, weights

TICK = 0.25


class Ticking(Clock):
    """A quarter of a second passes with every look at it, and something may happen then."""

    def __init__(self) -> None:
        super().__init__()
        self.then: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        self.now += TICK
        self.then()
        return self.now


def rest(child: Child) -> None:
    """All workers have come to the end of their trajectories and stand still."""
    array(child.block, "waiting")[:, 0] = array(child.block, "pause")[0]


def test_a_worker_that_never_comes_to_rest_is_not_waited_for_any_longer() -> None:
    clock = Ticking()
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a", barrier=True)
    array(child.block, "waiting")[0, 0] = 1  # one waits, the other one's environment does not return
    child.learn(1.0, 10)
    child.side.flush_stragglers()
    start = clock.now
    assert {each.kind for each in child.side.outgoing()} == {Kind.TELEMETRY}  # the parent hears of it meanwhile
    assert STILL <= clock.now - start < STILL + 10 * TICK
    assert array(child.block, "pause").tolist() == [1, 1]  # all play on
    assert any("no upload this time" in note for note in child.notes)

    child.side.accept(Message(Kind.FLUSH, "parent"))
    assert child.due() == []  # for a while the others are left alone
    assert array(child.block, "pause").tolist() == [1, 1]
    clock.now += STILL
    child.learn(1.0, 10)
    clock.then = lambda: rest(child)  # it has returned after all
    (upload,) = [each for each in child.side.outgoing() if each.kind is Kind.UPLOAD]
    child.take(arrives(parent, upload))
    assert parent.current.steps == 20
    assert torch.equal(child.shared, weights(2.0))


def test_workers_are_waited_for_as_long_as_one_of_them_makes_steps() -> None:
    clock = Ticking()
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a", barrier=True)
    end = clock.now + 5 * STILL

    def play() -> None:
        if clock.now < end:
            array(child.block, "counters")[1, STEPS] += clock.now % 20 < TICK  # a step now and then
        else:
            rest(child)

    clock.then = play
    upload = child.upload()
    assert clock.now >= end
    assert upload.info["work"] == array(child.block, "counters")[1, STEPS] > 0
    assert child.notes == []


@pytest.mark.parametrize("stops", [True, False])
def test_the_end_of_the_link_is_noticed_while_workers_are_waited_for(stops: bool) -> None:
    child = Child("a", time.monotonic, barrier=True)  # type: ignore[arg-type]
    answer = make_parent(weights(0.0), Clock()).join("a")
    above, below = memory_pair()
    outcome: list[object] = []

    def serve() -> None:
        try:
            outcome.append(report(below, child.side, threading.Event(), name="a"))
        except LinkClosed as error:
            outcome.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    above.send(answer.message, answer.digest)
    assert child.side.started.wait(20)
    child.learn(1.0, 10)
    child.side.flush_stragglers()
    pause = array(child.block, "pause")
    while pause[0] == pause[1]:
        assert above.recv(20, new_buffers).kind is Kind.TELEMETRY
    if stops:
        above.send(Message(Kind.STOP, "parent"))
    above.close()
    thread.join(20)
    assert child.notes == []  # it did not give up: it noticed
    assert outcome == [True] if stops else isinstance(outcome[0], LinkClosed)
