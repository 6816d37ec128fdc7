"""A study that is interrupted while it trains goes on with the same command, and repeats nothing."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.commands import MARL, PATIENCE_S, nothing_left, python, session, started, succeed, until

STUDY = """
base = "tests.fakes:Unhurried"
seeds = [1]
children = {children}

[settings]
environment.per_worker = 1
environment.kwargs.while_there = "{slowly}"
exchange.every = "0.2 seconds"
stop.steps = 1000  # while the file above is there, each run is still training when it is interrupted
node.workers = 1
checkpoint.every_seconds = 0.1
evaluation.final_episodes = 5
report.tensorboard = false
report.pictures = false

[grid]
algorithm.learning_rate = [1e-3, 2e-3]
"""
COMMAND = (*MARL, "study", "small.toml", "--side-by-side", "1", "--allow", "tests.fakes")


def written(folder: Path, children: str) -> Path:
    """Write the study file; its runs train slowly until the file is gone that this returns."""
    slowly = folder / "slowly"
    slowly.touch()
    (folder / "small.toml").write_text(STUDY.format(children=children, slowly=slowly))
    return slowly


def run_folders(folder: Path) -> list[Path]:
    return sorted(folder.glob("studies-runs/small/runs/*/*/seed-1/*/config.toml"))


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("studies-runs/small/runs/*/*/seed-1/*/checkpoint.pt"))


def runs_of(process: subprocess.Popen[str]) -> list[int]:
    """Ids of the processes that do a run each."""
    found = []
    for pid in session(process.pid):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"marl.studies.one_run" in words:
            found.append(pid)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("children", ["[0]", "[2]"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_study_goes_on(number: signal.Signals, children: str, tmp_path: Path) -> None:
    slowly = written(tmp_path, children)
    with started(*COMMAND, cwd=tmp_path) as process:
        until(lambda: checkpoints(tmp_path), of=process)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130), (out, err)
        if number == signal.SIGINT:
            assert err == "Error: stopped; marl study small.toml goes on\n"
        until(lambda: not session(process.pid))  # the runs save and end too
    (before,) = run_folders(tmp_path)
    slowly.unlink()
    lines = succeed(*COMMAND, cwd=tmp_path).splitlines()
    assert re.match(r".*learning_rate=0.001.*, seed 1 goes on: ", lines[1]), lines
    assert re.match(r".*learning_rate=0.002.*, seed 1 begins: ", lines[3]), lines
    assert lines[-1].startswith("Runs that have ended: 2 of 2.")
    assert len(run_folders(tmp_path)) == 2
    assert run_folders(tmp_path)[0] == before
    assert not list(tmp_path.rglob("abandoned"))
    said = succeed(*COMMAND, cwd=tmp_path)
    assert "2 runs, 2 of them finished" in said
    assert " begins" not in said
    assert " goes on" not in said


@pytest.mark.slow
def test_a_run_that_is_killed_is_told_and_goes_on_next_time(tmp_path: Path) -> None:
    slowly = written(tmp_path, "[0]")
    with started(*COMMAND, cwd=tmp_path) as process:
        until(lambda: checkpoints(tmp_path), of=process)
        (run,) = runs_of(process)
        os.kill(run, signal.SIGKILL)
        slowly.unlink()  # the next run may end
        out, err = process.communicate(timeout=PATIENCE_S)
        nothing_left(process)
    assert process.returncode == 1, out
    assert "signal 9" in err
    assert "Runs that have ended: 1 of 2." in out
    done = python(*COMMAND, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "goes on" in done.stdout
    assert "begins" not in done.stdout
    assert len(run_folders(tmp_path)) == 2
