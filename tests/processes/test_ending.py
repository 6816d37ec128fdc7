"""However a process ends, what it holds is closed, and what it has started ends."""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import pytest

from marl.processes.ending import close_at_the_end, ends_by_sigterm
from marl.processes.group import Failure, Member, ProcessGroup
from tests import process_targets as targets

WAIT_S = 30.0  # the most that a process may take to start or end on a busy machine


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    with ProcessGroup(patience=0.1) as group:
        yield group


def said(member: Member) -> object:
    assert member.pipe.poll(WAIT_S)
    return member.pipe.recv()


def assert_ended(descriptor: int) -> None:
    assert select.select([descriptor], [], [], WAIT_S)[0], "it lives on"
    os.close(descriptor)


def test_sigterm_closes_and_does_not_stop_the_closing(group: ProcessGroup) -> None:
    member = group.start("one", targets.holds_something)
    assert said(member) == "ready"
    os.kill(member.process.pid, signal.SIGTERM)
    assert said(member) == "closing"
    os.kill(member.process.pid, signal.SIGTERM)
    member.pipe.send("go on")
    assert said(member) == "closed"
    member.process.join(WAIT_S)
    assert group.check() == [("one", Failure("killed by SIGTERM", "", False))]


@pytest.mark.parametrize("target", [targets.has_a_process_of_its_own, targets.has_a_deaf_process_of_its_own])
def test_a_process_may_have_processes_which_end_with_it(
    group: ProcessGroup, target: Callable[[Connection], None]
) -> None:
    own = os.pidfd_open(cast(int, said(group.start("one", target))))
    assert_ended(own)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="semaphores cannot be seen here")
def test_a_semaphore_ends_with_the_process_that_made_it(group: ProcessGroup) -> None:
    member = group.start("one", targets.has_a_semaphore)
    semaphore = Path(f"/dev/shm/sem.{cast(str, said(member)).removeprefix('/')}")
    assert semaphore.exists()
    os.kill(member.process.pid, signal.SIGTERM)
    member.process.join(WAIT_S)
    assert not semaphore.exists()


@pytest.mark.parametrize(
    "end", [lambda group, pid: (os.kill(pid, signal.SIGKILL), _wait(group)), lambda group, pid: group.close()]
)
def test_programs_end_with_the_process_that_started_them(
    group: ProcessGroup, end: Callable[[ProcessGroup, int], object]
) -> None:
    member = group.start("one", targets.starts_a_program)
    program = os.pidfd_open(said(member))
    end(group, member.process.pid)
    assert_ended(program)


def _wait(group: ProcessGroup) -> None:
    deadline = time.monotonic() + WAIT_S
    while not group.check():
        assert time.monotonic() < deadline
        group.wait(0.1)


def test_what_cannot_be_closed_keeps_nothing_else_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *unused: None)
    closed: list[str] = []

    class Thing:
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            closed.append(self.name)
            raise OSError(self.name)

    @ends_by_sigterm()
    def work() -> None:
        for name in ("first", "second"):
            close_at_the_end(Thing(name))

    with pytest.raises(OSError, match="first"):
        work()
    assert closed == ["second", "first"]
