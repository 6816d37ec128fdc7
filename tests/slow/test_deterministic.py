"""``--deterministic``: one seed, one result, bit for bit, whoever is killed on the way."""

import functools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from marl.training.saved.weights_file import read
from tests.commands import BARE, MARL, PATIENCE_S, named, run_folder, started, succeed, until

# Evaluated at every fourth checkpoint interval and at the end; sampled, so that two scores are rarely equal.
EVALUATED = ("--set", "evaluation.episodes=5", "--set", "evaluation.greedy=false")
RUNS = {
    "CartPole-v1": ("--steps", "30000", "--set", "checkpoint.every_steps=2000"),
    # Both normalisers, a schedule, short trajectories: all that is carried from one checkpoint interval to the next.
    "CartPole-v1, normalised": (
        *("--steps", "20000", "--set", "checkpoint.every_steps=2000", "--set", "algorithm.schedule=linear"),
        *("--set", "environment.normalize_observations=true", "--set", "environment.normalize_rewards=true"),
        *("--set", "optimizer.name=rmsprop", "--set", "algorithm.t_max=3", "--set", "environment.per_worker=8"),
    ),
    "CartPole-v1, gru": (
        *("--steps", "8000", "--set", "checkpoint.every_steps=1000", "--algorithm", "ppo"),
        *("--set", "network.core=gru"),
    ),
    "LunarLander-v3": ("--steps", "10000", "--set", "checkpoint.every_steps=1000"),
}


def words(name: str, seed: int = 3) -> tuple[str, ...]:
    """The command of one of RUNS."""
    environment = name.partition(",")[0]
    end = ("--set", "stop.solved=false")
    final = ("--set", "evaluation.final_episodes=10")  # bounded by steps, so that the file says the same each time
    words = (*MARL, "train", environment, "--deterministic", "--seed", str(seed), *RUNS[name], *EVALUATED, *end, *BARE)
    return (*words, *final)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder where one of RUNS was done without any trouble."""

    @functools.cache
    def reference(name: str) -> Path:
        folder = tmp_path_factory.mktemp("reference")
        succeed(*words(name), cwd=folder)
        return folder

    return reference


@pytest.mark.parametrize("name", ["CartPole-v1", "LunarLander-v3"])
@pytest.mark.slow  # with kills in between below
def test_the_same_seed_gives_the_same_bits(name: str, references: Callable[[str], Path], tmp_path: Path) -> None:
    succeed(*words(name), cwd=tmp_path)
    assert_same(references(name), tmp_path)


@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("CartPole-v1", [3]),
        pytest.param("CartPole-v1, normalised", [1, 4], marks=pytest.mark.slow),
        pytest.param("CartPole-v1, gru", [1, 2], marks=pytest.mark.slow),
        pytest.param("LunarLander-v3", [5], marks=pytest.mark.slow),
    ],
)
def test_killed_runs_that_are_resumed_give_the_same_bits(
    name: str, kills: list[int], references: Callable[[str], Path], tmp_path: Path
) -> None:
    """Killed as soon as the checkpoint has been replaced so often since the last start."""
    command = words(name)
    for count in kills:
        with started(*command, cwd=tmp_path) as process:
            wait_for_checkpoints(process, tmp_path, count)
            process.kill()
        command = (*MARL, "train", "--resume", str(run_folder(tmp_path)))
    succeed(*command, cwd=tmp_path)
    assert_same(references(name), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CartPole-v1, normalised", "LunarLander-v3"])
def test_killed_workers_and_evaluators_change_no_bit(
    name: str, references: Callable[[str], Path], tmp_path: Path
) -> None:
    with started(*words(name), "--plain", cwd=tmp_path) as process:
        wait_for_checkpoints(process, tmp_path, 2)
        os.kill(named(process, "marl worker")[0], signal.SIGKILL)
        os.kill(until(lambda: named(process, "marl evaluator"), of=process)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    assert "worker 0 died" in out
    assert "evaluator died" in out
    assert_same(references(name), tmp_path)


def test_another_seed_gives_other_bits(references: Callable[[str], Path], tmp_path: Path) -> None:
    """Or the tests above would compare nothing."""
    succeed(*words("CartPole-v1", seed=4), cwd=tmp_path)
    ours, theirs = read(tmp_path / "weights.pt").tensors, read(references("CartPole-v1") / "weights.pt").tensors
    assert not any(torch.equal(ours[key], theirs[key]) for key in ours if key.endswith("weight"))


def wait_for_checkpoints(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    """Until the run's checkpoint has been replaced so often."""
    before = checkpoint(folder)
    for _ in range(count):
        before = until(lambda seen=before: _other(checkpoint(folder), seen), of=process)


def checkpoint(folder: Path) -> tuple[int, int] | None:
    """What changes whenever the run's checkpoint is replaced."""
    run = run_folder(folder)
    try:
        status = (run / "checkpoint.pt").stat() if run else None
    except FileNotFoundError:
        return None
    return (status.st_ino, status.st_mtime_ns) if status else None


def _other(now: tuple[int, int] | None, before: tuple[int, int] | None) -> tuple[int, int] | None:
    return now if now != before else None


def assert_same(expected: Path, got: Path) -> None:
    """All tensors of all files that a run leaves, what it counted, and which weights it chose."""
    for ours, theirs in zip(files(got), files(expected), strict=True):
        mine, other = read(ours), read(theirs)
        assert mine.tensors.keys() == other.tensors.keys()
        for key, tensor in mine.tensors.items():
            assert torch.equal(tensor, other.tensors[key]), f"{ours.name}: {key}"
        for key in ("steps", "updates", "evaluation", "best_mean", "segment"):
            assert mine.info.get(key) == other.info.get(key), f"{ours.name}: {key}"


def files(folder: Path) -> Iterator[Path]:
    """Of a finished run."""
    run = run_folder(folder)
    assert run is not None
    yield from (folder / "weights.pt", run / "checkpoint.pt", run / "best.pt")
