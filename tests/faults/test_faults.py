"""Faults in real processes, and what a checker finds in everything that was written down meanwhile.

Each is tried a few times here, and as often as promised by ``make faults``, which sets MARL_FAULTS=1.
"""

import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from marl.failpoints import VARIABLE as FAILPOINTS
from tests.commands import ENDLESS, named, run_folder, session, until
from tests.faults.checker import Event, read_history
from tests.faults.counts import SHARE, times
from tests.slow.cluster import OFTEN, Node, child, free_port, parent, version, wait_for_rounds

RUN = ("CartPole-v1", *ENDLESS, *OFTEN)

pytestmark = [pytest.mark.usefixtures("marl_home"), pytest.mark.timeout(1800)]


@contextmanager
def armed(text: str) -> Iterator[None]:
    """Processes that are started meanwhile have these failpoints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FAILPOINTS, text)
        yield


def rounds_after(history: Path, moment: float) -> list[Event]:
    """Rounds that were closed after a moment."""
    return [event for event in read_history(history) if event["event"] == "round" and event["time"] > moment]


def test_workers_are_killed(tmp_path: Path, history: Path) -> None:
    """At any instruction: each is started again within 5 s, and the rounds go on (R1)."""
    chance = random.Random(1)
    with child(tmp_path) as first, child(tmp_path) as second, parent(tmp_path, [first, second], *RUN) as run:
        run.wait("children 2/2")
        for _ in range(times(200, 12)):  # more than a run on one machine would forgive
            node = first if chance.random() < 0.9 else second
            victim = until(lambda node=node: named(node.process, "marl worker"), of=node.process)[0]
            time.sleep(chance.uniform(0.0, 0.6))  # any moment of its life will do: nothing is waited for
            os.kill(victim, signal.SIGKILL)
            until(lambda node=node, victim=victim: set(named(node.process, "marl worker")) - {victim}, 5)
        wait_for_rounds(run, tmp_path)
        assert run.end(signal.SIGINT) == 0


def test_contacts_are_killed(tmp_path: Path, history: Path) -> None:
    """The child starts its contact again, under the same name, and is back within a few rounds (R2)."""
    with child(tmp_path) as first, child(tmp_path) as second, parent(tmp_path, [first, second], *RUN) as run:
        run.wait("children 2/2")
        for _ in range(times(20)):
            heard = len(run.lines)
            os.kill(second.contact, signal.SIGKILL)
            run.wait(f"^{second.address}: the child is in again", after=heard)
            run.wait("children 2/2", after=heard)
        wait_for_rounds(run, tmp_path)
        assert run.end(signal.SIGINT) == 0


CHILD_POINTS = (
    *("child.welcoming", "child.sending.upload", "child.sent.upload", "child.snapshot", "child.answer"),
    *("child.applied", "child.sending.telemetry"),
)


@pytest.mark.parametrize("point", CHILD_POINTS if SHARE else random.Random(2).sample(CHILD_POINTS, 1))
def test_a_child_is_killed_at(point: str, tmp_path: Path, history: Path) -> None:
    """Over and over, at one place of the protocol: the other child loses no round (R3)."""
    with (
        child(tmp_path) as steady,
        armed(f"{point}=kill@3"),
        child(tmp_path) as faulty,
        parent(tmp_path, [steady, faulty], *RUN) as run,
    ):
        heard = 0
        for _ in range(times(5, 2)):
            faulty.wait_for_error("killed by SIGKILL; it is started again", after=heard)
            heard = len(faulty.errors)
        wait_for_rounds(run, tmp_path)
        assert run.end(signal.SIGINT) == 0


def test_one_child_is_poisoned(tmp_path: Path, history: Path) -> None:
    """A bit flips in each of its snapshots: what is not finite is refused, the rest is averaged, and all stays finite
    (D1, D2).
    """
    with (
        child(tmp_path) as steady,
        armed("child.snapshot=corrupt"),
        child(tmp_path) as faulty,
        parent(tmp_path, [steady, faulty], *RUN) as run,
    ):
        run.wait("children 2/2")
        wait_for_rounds(run, tmp_path, 10)
        assert run.end(signal.SIGINT) == 0


PARENT_POINTS = (
    *("parent.greeting", "parent.joined", "parent.placing", "parent.merging", "parent.closing", "parent.closed"),
    *("parent.sending.answer", "file.written", "file.renaming", "file.renamed"),
)


@pytest.mark.parametrize("point", PARENT_POINTS if SHARE else random.Random(3).sample(PARENT_POINTS, 1))
def test_the_parent_is_killed_at(point: str, tmp_path: Path, history: Path) -> None:
    """And resumed, again and again: the children train on, and the run goes on where it was (R10)."""
    ports = free_port(), free_port()
    addresses = [f"127.0.0.1:{port}" for port in ports]
    with child(tmp_path, port=ports[0]), child(tmp_path, port=ports[1]):
        with parent(tmp_path, addresses, *RUN) as run:
            run.wait("children 2/2")
            wait_for_rounds(run, tmp_path, 3)
            run.end_hard()
        folder = run_folder(tmp_path)
        assert folder is not None
        for _ in range(times(5)):
            with armed(f"{point}=kill@7"), parent(tmp_path, addresses, "--resume", str(folder)) as run:
                run.process.wait(60)
                assert run.process.returncode == -signal.SIGKILL
        moment = time.monotonic()
        with parent(tmp_path, addresses, "--resume", str(folder)) as run:
            until(lambda: rounds_after(history, moment), of=run.process)
            run.wait("children 2/2")
            wait_for_rounds(run, tmp_path)
            assert run.end(signal.SIGINT) == 0
    assert not list(folder.glob("**/.*.tmp"))


@contextmanager
def asleep(node: Node) -> Iterator[None]:
    """All of its processes stand still until the end of the block."""
    pids = list(session(node.process.pid))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("newer_lives_on", [True, False] if SHARE else [True])
def test_an_older_parent_wakes(newer_lives_on: bool, tmp_path: Path, history: Path) -> None:
    """It stood still, another went on with its run: the children will not have it, the run folder is not its own any
    more, and it ends without a trace (R11).
    """
    with ExitStack() as stack:
        only = stack.enter_context(child(tmp_path))
        old = stack.enter_context(parent(tmp_path, [only], *RUN))
        old.wait("children 1/1")
        wait_for_rounds(old, tmp_path)
        folder = run_folder(tmp_path)
        with asleep(old):
            new = stack.enter_context(parent(tmp_path, [only], "--resume", str(folder)))
            new.wait("children 1/1")
            moment = time.monotonic()
            until(lambda: rounds_after(history, moment), of=new.process)
            if not newer_lives_on:
                assert new.end(signal.SIGINT) == 0
            reached = version(tmp_path)
        assert old.end() == 1
        assert "another parent" in old.errors[-1]
        if newer_lives_on:
            wait_for_rounds(new, tmp_path)
            assert new.end(signal.SIGINT) == 0
        else:
            assert version(tmp_path) == reached
        with parent(tmp_path, [only], "--resume", str(folder)) as next_one:
            next_one.wait("children 1/1")
            assert next_one.end(signal.SIGINT) == 0


@pytest.mark.slow
def test_no_space_for_checkpoints(tmp_path: Path) -> None:
    """Training goes on, with a warning, and the last good checkpoint stays (R12)."""
    with child(tmp_path) as only, parent(tmp_path, [only], *RUN) as run:
        run.wait("children 1/1")
        wait_for_rounds(run, tmp_path)
        resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (4000, 4000))  # less than a checkpoint
        run.wait("could not write .*checkpoint.pt: .*training goes on, the older file is kept")
        heard = len(run.lines)
        run.wait(r"children 1/1  version \d+", after=heard)
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(20) == 0
    assert version(tmp_path) >= 2


def test_children_leave_and_come_back(tmp_path: Path, history: Path) -> None:
    """On purpose: each sends what it has, says farewell, and leaves nothing behind (R8, R9)."""
    port = free_port()
    with child(tmp_path) as steady, parent(tmp_path, [steady, f"127.0.0.1:{port}"], *RUN) as run:
        for _ in range(times(50)):
            heard = len(run.lines)
            with child(tmp_path, port=port) as guest:
                run.wait("children 2/2", after=heard)
                assert guest.end(signal.SIGTERM) == 0
            run.wait("children 1/2", after=heard)
        wait_for_rounds(run, tmp_path)
        assert run.end(signal.SIGINT) == 0
