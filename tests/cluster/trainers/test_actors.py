"""Actors and a learner on one machine, by the real command: it learns, and whoever is killed is replaced."""

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from marl.exchanges.settings import ExchangeSettings
from marl.training.saved.weights_file import read
from tests.commands import (
    BARE,
    ENDLESS,
    MARL,
    PATIENCE_S,
    STOP_S,
    learning,
    metrics,
    named,
    nothing_left,
    run_folder,
    started,
    succeed,
    until,
)

Process = subprocess.Popen[str]
TRAIN = (*MARL, "train", "--plain", "--exchange", "experience", *BARE)
IMPALA = (*TRAIN, "CartPole-v1", "--algorithm", "impala", "--workers", "2")


def newest(folder: Path) -> dict[str, Any]:
    """The newest line of metrics."""
    lines = metrics(folder)
    return lines[-1] if lines else {"updates": 0, "steps": 0, "restarts": 0}


def checkpoint(folder: Path) -> dict[str, Any]:
    """What the only run has saved, beside its tensors."""
    run = run_folder(folder)
    assert run is not None
    return read(run / "checkpoint.pt").info


def goes_on(folder: Path, process: Process) -> None:
    """So many updates more are made, and reported."""
    wanted = newest(folder)["updates"] + 20
    until(lambda: newest(folder)["updates"] >= wanted, of=process)


def ends(process: Process, number: signal.Signals = signal.SIGINT, seconds: float = STOP_S) -> str:
    """What it printed; it ends well within the promised time."""
    process.send_signal(number)
    out, err = process.communicate(timeout=seconds)
    nothing_left(process)
    assert (process.returncode, err) == (128 + number, ""), out + err
    return out


@pytest.mark.parametrize("algorithm", ["impala", "ppo"])
def test_it_solves_a_probe(algorithm: str, tmp_path: Path) -> None:
    words = ("tests.fakes:ActionByObservation", "--algorithm", algorithm, "--minutes", "1", "--seed", "1")
    settings = ("--set", "environment.solved_return=0.9", "--set", "algorithm.learning_rate=0.01")
    out = succeed(*TRAIN, *words, *settings, "--workers", "2", cwd=tmp_path)
    assert re.search("^Solved after", out, re.MULTILINE), out
    saved = checkpoint(tmp_path)
    assert saved["version"] > 0
    # The last update may not be counted yet; PPO makes several of one batch.
    assert saved["updates"] >= saved["version"] - 1
    staleness = [line["metrics"]["staleness"] for line in metrics(tmp_path) if "staleness" in line["metrics"]]
    assert staleness
    # Nobody waits for the learner; what is older is dropped.
    assert max(staleness) <= ExchangeSettings().max_staleness


@pytest.mark.parametrize(
    "settings",
    [
        {"queue": 1},
        {"queue": 2, "batch": 2, "max_staleness": 0},
        {"queue": 16},
    ],  # less than is played: a late learner is waited for
    ids=str,
)
def test_any_queue_moves_on(settings: dict[str, int], tmp_path: Path) -> None:
    words = [word for name, value in settings.items() for word in ("--set", f"exchange.{name}={value}")]
    succeed(*IMPALA, *words, "--steps", "8000", cwd=tmp_path)
    last = newest(tmp_path)
    assert last["steps"] >= 8000
    assert last["updates"] > 0
    assert set(last["metrics"]) >= {"policy_loss", "staleness", "dropped"}
    if settings.get("max_staleness") == 0:
        assert last["metrics"]["staleness"] == 0
    else:
        assert last["metrics"]["dropped"] == 0


def test_observations_are_normalised_by_all_that_was_seen(tmp_path: Path) -> None:
    normalized = ("--set", "environment.normalize_observations=true")
    words = ("Pendulum-v1", "--algorithm", "impala", "--workers", "2", "--steps", "3000")
    succeed(*TRAIN, *words, *normalized, cwd=tmp_path)
    run = run_folder(tmp_path)
    assert run is not None
    saved = read(run / "checkpoint.pt")
    count = float(saved.tensors["normalizer"][0])
    assert 0.9 * saved.info["steps"] <= count <= 1.1 * saved.info["steps"] + 10 * 20 * 16
    out = succeed(*MARL, "evaluate", "--episodes", "1", cwd=tmp_path)
    assert "1 episode" in out


def test_who_is_killed_is_replaced(tmp_path: Path) -> None:
    with started(*IMPALA, *ENDLESS, cwd=tmp_path) as process:
        until(learning(tmp_path), of=process)
        for restarts, name in enumerate(("marl learner", "marl worker"), 1):
            before = named(process, name)
            os.kill(before[0], signal.SIGKILL)
            until(lambda: set(named(process, name)) - set(before), of=process)  # noqa: B023
            until(lambda: newest(tmp_path)["restarts"] == restarts, of=process)  # noqa: B023
            goes_on(tmp_path, process)
        out = ends(process)
    assert "the learner died (killed by SIGKILL (out of memory?)) and is started again" in out
    assert re.search(r"worker \d died \(killed by SIGKILL", out)


def test_a_learner_that_dies_too_often_ends_the_run(tmp_path: Path) -> None:
    with started(*IMPALA, *ENDLESS, "--set", "node.max_restarts=1", cwd=tmp_path) as process:
        until(learning(tmp_path), of=process)

        def killed() -> bool:
            """A learner that has learned something before its death does not count: its successor is killed too."""
            for learner in named(process, "marl learner"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(learner, signal.SIGKILL)
            return process.poll() is not None

        until(killed)
        _, err = process.communicate(timeout=PATIENCE_S)
        nothing_left(process)
    assert process.returncode == 1
    assert err.startswith("Error: killed by SIGKILL")
    assert re.search(r"the learner, after \d+ restarts; what was learned is saved", err), err
    assert checkpoint(tmp_path)["updates"] > 0


@pytest.mark.slow
def test_a_learner_that_stands_still_holds_its_actors_back(tmp_path: Path) -> None:
    """No more is played than fits into queue and rings; it goes on when the learner does, and ends at once if asked."""
    with started(*IMPALA, *ENDLESS, cwd=tmp_path) as process:
        until(learning(tmp_path), of=process)
        (learner,) = named(process, "marl learner")
        os.kill(learner, signal.SIGSTOP)

        def still() -> bool:
            steps = [line["steps"] for line in metrics(tmp_path)[-10:]]
            return len(steps) == 10 and len(set(steps)) == 1

        until(still, of=process)
        os.kill(learner, signal.SIGCONT)
        goes_on(tmp_path, process)
        os.kill(learner, signal.SIGSTOP)
        until(still, of=process)
        ends(process, signal.SIGTERM, 4 * STOP_S)  # the learner has to be killed
    assert checkpoint(tmp_path)["steps"] > 0


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    with started(*IMPALA, *ENDLESS, cwd=tmp_path) as process:
        until(learning(tmp_path), of=process)
        goes_on(tmp_path, process)
        assert "Ended (stopped)" in ends(process)
    before, run = checkpoint(tmp_path), run_folder(tmp_path)
    assert run is not None
    tensors = read(run / "checkpoint.pt").tensors
    assert tensors["optimizer"].any()
    made = float(tensors["optimizer_steps"])
    steps = str(before["steps"] + 5000)
    succeed(*MARL, "train", "--plain", "--resume", str(run), "--steps", steps, *BARE, cwd=tmp_path)
    after = checkpoint(tmp_path)
    assert after["epoch"] == before["epoch"] + 1
    assert after["version"] > before["version"]
    assert after["updates"] > before["updates"]
    assert after["steps"] >= before["steps"] + 5000
    gained = float(read(run / "checkpoint.pt").tensors["optimizer_steps"]) - made
    assert gained == pytest.approx(after["updates"] - before["updates"], abs=5)  # one optimizer throughout
    assert "not what the run was started with" in refused(tmp_path, run)


def refused(folder: Path, run: Path) -> str:
    """A run by one exchange does not go on by another."""
    config = run / "config.toml"
    text = config.read_text()
    config.write_text(text.replace('name = "experience"', 'name = "weights"'))
    with started(*MARL, "train", "--resume", str(run), cwd=folder) as process:
        _, err = process.communicate(timeout=PATIENCE_S)
    config.write_text(text)
    assert process.returncode != 0
    return err
