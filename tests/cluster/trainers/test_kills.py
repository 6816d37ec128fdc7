"""``kill -9`` of every process that the real command starts, and of the command itself."""

import os
import signal
import subprocess
from collections.abc import Set
from pathlib import Path

from marl.training.saved.weights_file import read
from tests.commands import (
    BARE,
    ENDLESS,
    MARL,
    PATIENCE_S,
    SINGLE_MACHINE,
    STOP_S,
    learning,
    metrics,
    named,
    nothing_left,
    ownerless_memory,
    run_folder,
    session,
    started,
    until,
)

Process = subprocess.Popen[str]
TWO = ("--workers", "2")


def kill_worker(process: Process, before: Set[int] = frozenset()) -> Set[int]:
    """Kill one worker that is not among ``before``; all that were there then."""
    workers = until(lambda: [pid for pid in named(process, "marl worker") if pid not in before], of=process)
    os.kill(workers[0], signal.SIGKILL)
    return before | {workers[0]}


def updates(folder: Path) -> int:
    """Of the newest line of metrics."""
    lines = metrics(folder)
    return lines[-1]["updates"] if lines else 0


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    with started(*SINGLE_MACHINE, "--plain", *TWO, *ENDLESS, *BARE, cwd=tmp_path) as process:
        until(learning(tmp_path), of=process)
        killed = kill_worker(process)
        until(lambda: len(set(named(process, "marl worker")) - killed) == 2, of=process)
        until(lambda: any(line["restarts"] == 1 for line in metrics(tmp_path)), of=process)
        done = updates(tmp_path)
        until(lambda: updates(tmp_path) > done, of=process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
        nothing_left(process)
    assert (process.returncode, err) == (128 + signal.SIGINT, "")
    assert out.count("died (killed by SIGKILL (out of memory?)) and is started again") == 1


def test_a_killed_forkserver_is_replaced(tmp_path: Path) -> None:
    """Its workers are unknown from then on: they must not go on beside those that take their place."""
    with started(*MARL, "train", "CartPole-v1", "--plain", *TWO, *ENDLESS, *BARE, cwd=tmp_path) as process:
        until(learning(tmp_path), of=process)
        first = named(process, "marl worker")
        (forkserver,) = {_parent(pid) for pid in first}
        os.kill(forkserver, signal.SIGKILL)
        until(lambda: len(set(named(process, "marl worker")) - set(first)) == 2, of=process)
        until(lambda: not set(named(process, "marl worker")) & set(first), of=process)
        done = updates(tmp_path)
        until(lambda: updates(tmp_path) > done, of=process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
        nothing_left(process)
    assert (process.returncode, err) == (128 + signal.SIGINT, "")


def test_workers_that_die_too_often_end_the_run(tmp_path: Path) -> None:
    few = ("--set", "node.max_restarts=2")
    with started(*MARL, "train", "CartPole-v1", *TWO, *ENDLESS, *BARE, *few, cwd=tmp_path) as process:
        until(learning(tmp_path), of=process)
        killed: Set[int] = set()
        for _ in range(3):
            killed = kill_worker(process, killed)
        _, err = process.communicate(timeout=PATIENCE_S)
        nothing_left(process)
    assert process.returncode == 1
    assert err.startswith("Error: killed by SIGKILL")
    assert "after 2 restarts; what was learned is saved" in err
    assert err.count("\n") == 1
    run = run_folder(tmp_path)
    assert run is not None
    saved = read(run / "checkpoint.pt").info
    assert saved["updates"] > 0
    assert saved["steps"] > 0


def test_a_killed_command_takes_its_workers_along(tmp_path: Path) -> None:
    in_memory = ownerless_memory()
    with started(*MARL, "train", "CartPole-v1", *TWO, *ENDLESS, *BARE, cwd=tmp_path) as process:
        until(learning(tmp_path), of=process)
        assert len(session(process.pid)) >= 5  # itself, the forkserver, the resource tracker, two workers
        process.kill()
        process.wait(PATIENCE_S)
        nothing_left(process)
    until(lambda: ownerless_memory() <= in_memory, STOP_S)


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    """``marl train | head -1``: training goes on, and what was learned is saved."""
    with started(*MARL, "train", "CartPole-v1", "--plain", *ENDLESS, *BARE, cwd=tmp_path) as process:
        until(learning(tmp_path), of=process)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        kill_worker(process)  # that is worth a line, which nobody reads
        until(lambda: any(line["restarts"] == 1 for line in metrics(tmp_path)), of=process)
        process.terminate()
        process.wait(PATIENCE_S)
        assert process.stderr.read() == ""
        nothing_left(process)
    assert (tmp_path / "weights.pt").is_file()


def test_a_killed_evaluator_is_replaced(tmp_path: Path) -> None:
    often = ("--set", "evaluation.every_seconds=0.01", "--set", "evaluation.episodes=200")
    with started(*MARL, "train", "CartPole-v1", "--plain", *TWO, *ENDLESS, *BARE, *often, cwd=tmp_path) as process:
        first = until(lambda: named(process, "marl evaluator"), of=process)
        os.kill(first[0], signal.SIGKILL)
        until(lambda: set(named(process, "marl evaluator")) - set(first), of=process)
        until(lambda: list(tmp_path.glob("runs/*/best.pt")), of=process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
        nothing_left(process)
    assert (process.returncode, err) == (128 + signal.SIGTERM, "")
    assert "evaluator died (killed by SIGKILL" in out


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
