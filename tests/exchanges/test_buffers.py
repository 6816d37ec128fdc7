"""Receive buffers: four for any number of children, and nobody waits for one that nobody will give back."""

import threading

import pytest
import torch

from marl.errors import MessageRefused
from marl.exchanges.merging.buffers import COUNT, Buffers
from marl.exchanges.weights.parent import WeightsParent
from marl.wire.message import Kind, Message
from marl.wire.payload import Incoming, Outgoing
from tests.exchanges.nodes import SIZE, Clock, join, make_parent, weights

PATIENCE_S = 20.0


class Watched(threading.Condition):
    """A condition that tells when somebody waits at it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        self.waiting.release()
        return super().wait(PATIENCE_S)


class Late:
    """A child that finds no buffer free: it waits when this is made."""

    def __init__(self, buffers: Buffers, child: str) -> None:
        buffers._changed = self._watched = Watched()
        self.found: list[torch.Tensor | MessageRefused] = []
        self._thread = threading.Thread(target=self._acquire, args=(buffers, child), daemon=True)
        self._thread.start()
        assert self._watched.waiting.acquire(timeout=PATIENCE_S)

    def _acquire(self, buffers: Buffers, child: str) -> None:
        try:
            self.found.append(buffers.acquire(child))
        except MessageRefused as error:
            self.found.append(error)

    def end(self) -> torch.Tensor | MessageRefused:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.found[0]


def full() -> tuple[Buffers, list[torch.Tensor]]:
    """All buffers are held, each by a child."""
    buffers = Buffers(8)
    return buffers, [buffers.acquire(f"child {number}") for number in range(COUNT)]


def test_there_are_four_and_each_is_one_childs_own() -> None:
    buffers, held = full()
    assert len({each.data_ptr() for each in held}) == COUNT == 4
    assert all((each.dtype, len(each)) == (torch.uint8, 8) for each in held)
    assert buffers.acquire("child 2") is held[2]  # its last upload was cut short


def test_a_fifth_child_waits_for_the_first_that_is_free() -> None:
    buffers, held = full()
    late = Late(buffers, "late")
    assert late.found == []
    buffers.release("child 1")
    assert late.end() is held[1]
    buffers.release("child 1")  # it holds none any more: the other's stays its own
    later = Late(buffers, "later")
    assert later.found == []
    buffers.release("late")
    assert later.end() is held[1]


def test_closing_wakes_who_waits_and_lets_nobody_in() -> None:
    buffers, _ = full()
    late = Late(buffers, "late")
    buffers.close()
    assert isinstance(late.end(), MessageRefused)
    with pytest.raises(MessageRefused, match="the run is over"):
        buffers.acquire("later")


def busy_parent(clock: Clock) -> WeightsParent:
    """Uploads are arriving from as many children as there are buffers."""
    parent = make_parent(weights(0.0), clock)
    children = join(parent, clock, *(f"child-{number}" for number in range(COUNT)))
    clock.now += 5
    for child in children:
        begin = Outgoing(Message(Kind.UPLOAD, child.name, arrays={"weights": child.shared}))
        Incoming(begin.header, lambda header, name=child.name: parent.receive_buffers(name, header))
    return parent


@pytest.mark.parametrize("ends", ["one leaves", "one is spoiled", "one comes too late", "one is merged"])
def test_a_parent_has_its_buffers_back_however_an_upload_ends(ends: str, clock: Clock) -> None:
    parent = busy_parent(clock)
    late = Late(parent._buffers, "late")
    upload = Message(Kind.UPLOAD, "child-2", 0, 0, 1, {"weights": weights(1.0)}, {"work": 10})
    answering = threading.Thread(target=parent.answer, args=("child-2", upload), daemon=True)
    if ends == "one leaves":
        parent.leave("child-2")
    elif ends == "one is spoiled":
        parent.rejected("child-2", "the hash differs")
    elif ends == "one comes too late":
        parent.answer("child-2", upload._replace(version=7))
    else:
        answering.start()  # until the round closes, which waits for the others
    buffer = late.end()
    assert isinstance(buffer, torch.Tensor)
    assert buffer.nbytes == 4 * SIZE
    if ends == "one is merged":
        assert parent.current.version == 0
        assert answering.is_alive()
        parent.close()
        answering.join(PATIENCE_S)
        assert not answering.is_alive()


def test_a_parent_that_ends_lets_nobody_wait_for_a_buffer(clock: Clock) -> None:
    parent = busy_parent(clock)
    late = Late(parent._buffers, "late")
    parent.close()
    assert isinstance(late.end(), MessageRefused)
