"""Parents are killed, sleep, find no space: children train on, and the run goes on where it was."""

import resource
import shutil
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.commands import FACTOR, run_folder, until
from tests.faults.counts import SHARE, times
from tests.faults.runs import RUN, armed, events, standing_still
from tests.slow.cluster import child, free_ports, parent, version, wait_for_rounds

FIRST_ROUND_S = 10.0 * FACTOR  # of a resumed run, from the start of its command

pytestmark = [pytest.mark.usefixtures("marl_home"), pytest.mark.timeout(1800)]

GONE = "; training on alone"
EARLY = ("parent.greeting", "parent.joined")  # passed once for each child
POINTS = (
    *("parent.receiving", "parent.merging", "parent.closing", "parent.closed", "parent.sending.answer"),
    *("checkpoint.pt.written", "checkpoint.pt.renaming", "checkpoint.pt.renamed"),
)


@pytest.mark.slow
@pytest.mark.parametrize("point", (*EARLY, *POINTS) if SHARE else ["checkpoint.pt.renaming"])
def test_the_parent_is_killed_at(point: str, tmp_path: Path, history: Path) -> None:
    """And resumed, again and again: the children train on, and the run goes on where it was or a round before (R10)."""
    ports = free_ports(2)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    kill = f"{point}=kill@{2 if point in EARLY else 7}"
    with child(tmp_path, port=ports[0]) as first, child(tmp_path, port=ports[1]) as second:
        words = RUN
        if point in EARLY:  # else there would be nothing to resume
            with parent(tmp_path, addresses, *words) as run:
                run.wait("children 2/2")
                wait_for_rounds(run, tmp_path)
                run.end_hard()
            words = ("--resume", str(run_folder(tmp_path)))
        for _ in range(times(7 if "checkpoint" in point else 5)):
            with armed(kill), parent(tmp_path, addresses, *words) as run:
                run.process.wait(60)
                assert run.process.returncode == -signal.SIGKILL
            words = ("--resume", str(run_folder(tmp_path)))
        demanded = all if point in EARLY else any  # else one child alone may have made the rounds
        until(lambda: demanded(any(GONE in line for line in each.lines) for each in (first, second)))
        started_at = time.monotonic()
        with parent(tmp_path, addresses, *words) as run:
            until(lambda: events(history, "round", after=started_at), of=run.process)
            assert events(history, "round", after=started_at)[0]["time"] - started_at <= FIRST_ROUND_S
            run.wait("children 2/2")
            wait_for_rounds(run, tmp_path)
            assert run.end(signal.SIGINT) == 128 + signal.SIGINT
    assert not list(tmp_path.glob("runs/**/.*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("newer_lives_on", [True, False] if SHARE else [True])
def test_an_older_parent_wakes(newer_lives_on: bool, tmp_path: Path, history: Path) -> None:
    """It stood still, another went on in a copy of its run folder, for nobody else may write to its own: the children
    will not have the older one, and it ends without a trace (R11).
    """
    with ExitStack() as stack:
        only = stack.enter_context(child(tmp_path))
        old = stack.enter_context(parent(tmp_path, [only], *RUN))
        old.wait("children 1/1")
        wait_for_rounds(old, tmp_path)
        folder = run_folder(tmp_path)
        assert folder is not None
        with standing_still(old):
            with parent(tmp_path, [only], "--resume", str(folder)) as refused:
                assert refused.end() == 1
            assert f"process {old.process.pid} " in refused.errors[-1]
            folder = shutil.copytree(folder, tmp_path / "copies" / folder.name)
            new = stack.enter_context(parent(tmp_path, [only], "--resume", str(folder)))
            new.wait("children 1/1")
            moment = time.monotonic()
            until(lambda: events(history, "round", after=moment), of=new.process)
            if not newer_lives_on:
                assert new.end(signal.SIGINT) == 128 + signal.SIGINT
            reached = version(folder)
        woken_at = time.monotonic()
        assert old.end() == 1
        assert "this run goes on under another parent" in old.errors[-1]
        terms = [event["epoch"] for event in events(history, "round", after=moment)]
        assert {event["epoch"] for event in events(history, "applied", after=woken_at)} <= {max(terms)}
        if newer_lives_on:
            moment = time.monotonic()
            until(lambda: events(history, "round", after=moment), of=new.process)
            assert new.end(signal.SIGINT) == 128 + signal.SIGINT
        else:
            assert version(folder) == reached
        with parent(tmp_path, [only], "--resume", str(folder)) as next_one:
            next_one.wait("children 1/1")
            assert next_one.end(signal.SIGINT) == 128 + signal.SIGINT


@pytest.mark.slow
def test_no_space_for_checkpoints(tmp_path: Path) -> None:
    """Training goes on, with a warning, and the last good checkpoint stays (R12); the end says what is not written."""
    with child(tmp_path) as only, parent(tmp_path, [only], *RUN) as run:
        run.wait("children 1/1")
        wait_for_rounds(run, tmp_path)
        resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (4000, 4000))  # less than a checkpoint
        run.wait("could not write .*checkpoint.pt: .*training goes on, the older file is kept")
        heard = len(run.lines)
        run.wait(r"children 1/1  version \d+", after=heard)
        assert run.end(signal.SIGINT) == 1
        assert run.errors[-1].startswith("Error: could not write weights.pt: File too large; the weights are in ")
    assert version(tmp_path) >= 2
