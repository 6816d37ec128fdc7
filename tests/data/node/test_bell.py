"""Who waits for another process wakes up when that rings, and never waits for ever."""

import ctypes
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

import pytest
import torch

from marl.data.layout import Leaf
from marl.data.node import bell as bells
from marl.data.node.bell import Bell
from marl.data.node.memory import array
from marl.data.shared import SharedBlock
from marl.processes.group import ProcessGroup

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="others look again and again")


def shared() -> SharedBlock:
    return SharedBlock({"bell": Leaf((8,), torch.int64), "number": Leaf((1,), torch.int64)})


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself."""
    monkeypatch.setattr(bells, "_LONGEST", bells._Timespec(60, 0))


def answer(pipe: Connection, block: SharedBlock) -> None:
    """A process that adds 1 whenever the number is odd."""
    number, bell = array(block, "number"), Bell(array(block, "bell"))
    for _ in range(50):
        bell.wait_for(lambda: bool(number[0] % 2))
        number[0] += 1
        bell.ring()


def test_two_processes_wake_up_each_other() -> None:
    block = shared()
    number, bell = array(block, "number"), Bell(array(block, "bell"))
    with ProcessGroup() as group:
        group.start("answer", answer, block, may_end=lambda: True)
        for _ in range(50):
            number[0] += 1
            bell.ring()
            bell.wait_for(lambda: not number[0] % 2)
    assert number[0] == 100


@LINUX
def test_a_ring_is_what_wakes_up(patient: None) -> None:
    block = shared()
    number, bell = array(block, "number"), Bell(array(block, "bell"))
    asked = threading.Event()

    def there() -> bool:
        asked.set()
        return bool(number[0])

    waiting = threading.Thread(target=bell.wait_for, args=(there,))
    waiting.start()
    assert asked.wait(30.0)
    number[0] = 1
    Bell(array(block, "bell")).ring()
    waiting.join(30.0)
    assert not waiting.is_alive()


@LINUX
def test_who_rings_between_the_question_and_the_sleep_is_not_missed(patient: None) -> None:
    bell, asked = Bell(array(shared(), "bell")), list[int]()

    def there() -> bool:
        asked.append(1)
        bell.ring()
        return len(asked) > 5

    bell.wait_for(there)
    assert len(asked) == 6


def no_call() -> Callable[..., int] | None:
    return None


@pytest.mark.parametrize("find", [bells._futex, no_call])
def test_nobody_waits_for_ever_for_who_was_killed(
    find: Callable[[], Callable[..., int] | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wrote what others wait for, and did not come to ring."""
    monkeypatch.setattr(bells, "_futex", find)
    bell, asked = Bell(array(shared(), "bell")), list[int]()

    def there() -> bool:
        asked.append(1)
        return len(asked) > 3

    bell.wait_for(there)
    bell.ring()
    assert len(asked) == 4


def test_a_system_that_forbids_the_call_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidding:
        class syscall:
            def __new__(cls, *unused: object) -> int:  # type: ignore[misc]
                return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Forbidding)
    assert bells._futex.__wrapped__() is None
