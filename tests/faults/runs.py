"""Runs that faults happen to, and what their history says of them."""

import os
import signal
import statistics
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from marl.failpoints import VARIABLE as FAILPOINTS
from tests.commands import FACTOR, session
from tests.faults.checker import Event, read_history
from tests.slow.cluster import OFTEN, Node

RUN = ("CartPole-v1", "--minutes", "60", "--set", "stop.solved=false", *OFTEN)


@contextmanager
def armed(text: str) -> Iterator[None]:
    """Processes that are started meanwhile have these failpoints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FAILPOINTS, text)
        yield


@contextmanager
def standing_still(node: Node) -> Iterator[None]:
    """All of its processes stand still until the end of the block."""
    pids = list(session(node.process.pid))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def events(history: Path, *names: str, after: float = 0.0) -> list[Event]:
    """What was written down under these names, after a moment."""
    return [event for event in read_history(history) if event["event"] in names and event["time"] > after]


def demand_no_long_round(history: Path) -> None:
    """No round took a second more than rounds do: nobody has waited for who was gone."""
    times = [event["time"] for event in events(history, "round")]
    lengths = [after - before for before, after in pairwise(times)]
    assert max(lengths) <= statistics.median(lengths) + FACTOR, lengths


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
