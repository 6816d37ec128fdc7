"""Children that leave, come back, stand still or are slow: the others train on."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.commands import ENDLESS, FACTOR, MARL, named, succeed, until
from tests.faults.counts import SHARE, times
from tests.faults.runs import RUN, demand_no_long_round, events, standing_still
from tests.slow.cluster import Child, child, free_port, parent, wait_for_rounds

SUSPECTED_S = 6.0 * FACTOR
SILENCE_S = 5.0  # after which a side counts as gone

pytestmark = [pytest.mark.usefixtures("marl_home"), pytest.mark.timeout(1800)]


@pytest.mark.slow
def test_children_go_and_come_back(tmp_path: Path, history: Path) -> None:
    """On purpose: each sends what it has, says that it stops, and leaves nothing behind (R8). With all its processes,
    as when a machine loses power: no round of the other is a second longer (R3). At the same place it is the same child
    (R9). Until the first comes, the parent says what is missing.
    """
    port = free_port()
    with child(tmp_path) as steady, parent(tmp_path, [steady, f"127.0.0.1:{port}"], *RUN) as run:
        run.wait(f"^127.0.0.1:{port}: expected a marl child, got connection refused")
        for turn in range(times(100, 2)):
            heard = len(run.lines)
            with child(tmp_path, port=port) as candidate:
                run.wait("children 2/2", after=heard)
                wait_for_rounds(run, tmp_path)
                if turn % 2:
                    candidate.vanish()
                else:
                    assert candidate.end(signal.SIGINT if turn % 4 else signal.SIGTERM) == 0
                    run.wait(f"^127.0.0.1:{port}: the child has left", after=heard)
            run.wait("children 1/2", after=heard)
        wait_for_rounds(run, tmp_path)
        assert len(succeed(*MARL, "nodes", cwd=tmp_path).splitlines()) == 1 + 2
        assert run.end(signal.SIGINT) == 128 + signal.SIGINT
    demand_no_long_round(history)
    assert len({event["child"] for event in events(history, "joined")}) == 2


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [5, 30, 120] if SHARE else [0])
def test_a_child_that_stands_still(seconds: int, tmp_path: Path, history: Path) -> None:
    """No byte comes from it, and TCP would wait for ever: rounds go on without it; when it wakes it is back (R4)."""
    with child(tmp_path) as first, child(tmp_path) as second, parent(tmp_path, [first, second], *RUN) as run:
        run.wait("children 2/2")
        wait_for_rounds(run, tmp_path)
        heard, stopped_at = len(run.lines), time.monotonic()
        with standing_still(second):
            wait_for_rounds(run, tmp_path)
            assert time.monotonic() - stopped_at < SUSPECTED_S
            if seconds != SILENCE_S:
                run.wait(f"^{second.address}: expected a sign of life", after=heard)
                assert time.monotonic() - stopped_at < SUSPECTED_S
                run.wait("children 1/2", after=heard)
                wait_for_rounds(run, tmp_path)
            time.sleep(max(0.0, stopped_at + seconds - time.monotonic()))  # how long it stands still is what is tried
        if seconds != SILENCE_S:
            heard = len(run.lines)
            second.wait("is back")
        run.wait("children 2/2", after=heard)
        woken_at = time.monotonic()
        until(lambda: [each for each in events(history, "merged", after=woken_at) if each["child"] == second.name])
        assert run.end(signal.SIGTERM) == 128 + signal.SIGTERM
        assert [first.end(signal.SIGTERM), second.end(signal.SIGTERM)] == [0, 0]


@contextmanager
def ten_times_slower(node: Child) -> Iterator[None]:
    """Its workers may run for a tenth of the time."""
    over = threading.Event()

    def hold_back() -> None:
        while not over.wait(0.01):
            for number, pause in ((signal.SIGSTOP, 0.09), (signal.SIGCONT, 0.0)):
                for pid in named(node.process, "marl worker"):
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
                over.wait(pause)

    thread = threading.Thread(target=hold_back)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_a_child_that_is_slow(tmp_path: Path, history: Path) -> None:
    """It is told to upload at once, and what it has done counts. Nobody waits for the rest: nine tenths of what the
    other child does alone are done (R6).
    """
    often = ("CartPole-v1", *ENDLESS, "--set", "exchange.every='5000 steps'")
    port = free_port()
    with child(tmp_path) as fast, parent(tmp_path, [fast, f"127.0.0.1:{port}"], *often) as run:
        run.wait("children 1/2")
        wait_for_rounds(run, tmp_path)
        alone = pace(history, 20.0) if SHARE else 0.0
        with child(tmp_path, port=port) as slow, ten_times_slower(slow):
            run.wait("children 2/2")
            moment = time.monotonic()
            until(lambda: [each for each in events(history, "merged", after=moment) if each["child"] == slow.name])
            assert alone == 0 or pace(history, 20.0) >= 0.9 * alone
        assert run.end(signal.SIGINT) == 128 + signal.SIGINT


def pace(history: Path, seconds: float) -> float:
    """Environment steps that are merged a second, from one round's end to another's."""
    start = time.monotonic()
    time.sleep(seconds)  # this is what is measured
    rounds = events(history, "round", after=start)
    first, last = rounds[0], rounds[-1]
    return float((last["steps"] - first["steps"]) / (last["time"] - first["time"]))
