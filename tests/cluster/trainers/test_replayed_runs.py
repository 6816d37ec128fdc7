"""Runs of the real command that learn from the shared replay."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from marl.api import train
from marl.data.trajectory import Trajectory
from marl.errors import ConfigError
from marl.failpoints import VARIABLE
from marl.training.saved.weights_file import read
from tests.commands import BARE, MARL, PATIENCE_S, metrics, nothing_left, python, run_folder, started, succeed
from tests.slow.cluster import OFTEN, left_in_memory

TWO = ("--workers", "2", "--seed", "1", "--set", "stop.solved=false", "--json", *BARE)
TRAJECTORY = 32 * 5  # steps, by the preset


def replay(ratio: float) -> tuple[str, str]:
    return "--set", f"replay.ratio={ratio}"


def is_kept(ratio: float, result: dict[str, Any]) -> bool:
    """Whether there were about so many updates for each trajectory; reset steps are no steps of the environment."""
    expected: float = ratio * result["steps"] / TRAJECTORY
    return 0.9 * expected <= result["updates"] <= 1.25 * expected


@pytest.mark.parametrize("ratio", [0.5, 1, 4])
def test_so_many_updates_for_each_trajectory(ratio: float, tmp_path: Path) -> None:
    result = json.loads(succeed(*MARL, "train", "CartPole-v1", "--steps", "30000", *TWO, *replay(ratio), cwd=tmp_path))
    assert result["reason"] == "steps"
    assert result["steps"] >= 30_000
    assert is_kept(ratio, result)
    assert {"kl", "clipped"} <= set(metrics(tmp_path)[-1]["metrics"])  # what V-trace adds


def test_workers_that_are_killed_while_they_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each life of each worker, in the middle of its 101st trajectory: the run goes on to its end."""
    monkeypatch.setenv(VARIABLE, f"rollout.packing=kill@{100 * (len(Trajectory._fields) - 1) + 3}")
    words = ("train", "CartPole-v1", "--steps", "60000", *TWO, *replay(1))
    with started(*MARL, *words, cwd=tmp_path) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
        nothing_left(process)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert (result["reason"], result["steps"] >= 60_000) == ("steps", True)
    assert is_kept(1, result)
    deaths = metrics(tmp_path)[-1]["restarts"]
    assert 2 <= deaths <= result["steps"] / (90 * TRAJECTORY)
    assert "Traceback" not in err
    assert left_in_memory() == []


def test_a_resumed_run_begins_with_an_empty_replay(tmp_path: Path) -> None:
    first = json.loads(succeed(*MARL, "train", "CartPole-v1", "--steps", "10000", *TWO, *replay(1), cwd=tmp_path))
    run = run_folder(tmp_path)
    words = ("train", "--resume", str(run), "--steps", "30000", "--json", *BARE)
    second = json.loads(succeed(*MARL, *words, cwd=tmp_path))
    assert (second["reason"], second["steps"] >= 30_000) == ("steps", True)
    assert is_kept(1, second)
    assert second["updates"] > first["updates"]


SAME_BITS = {
    "deterministic": True, "exchange.name": "weights", "seed": 3, "stop.steps": 2000, "stop.solved": False,
    "checkpoint.every_steps": 800, "evaluation.final_episodes": 2, "replay.start": 400, "replay.ratio": 0.5,
    "replay.batch_size": 32, "environment.per_worker": 4, "network.hidden": [16], "report.pictures": False,
}  # fmt: skip


@pytest.mark.usefixtures("marl_home")
@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        ("CartPole-v1", {"algorithm.name": "apex_dqn"}),
        ("CartPole-v1", {"algorithm.name": "impala"}),
        pytest.param("CartPole-v1", {"algorithm.name": "apex_dqn", "network.core": "gru"}, marks=pytest.mark.slow),
        pytest.param("Pendulum-v1", {"algorithm.name": "sac"}, marks=pytest.mark.slow),
    ],
)
def test_the_same_seed_gives_the_same_bits_but_no_run_goes_on(
    environment: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    found = []
    for number in range(2):
        out = tmp_path / f"{number}.pt"
        given = {**SAME_BITS, **settings, "report.runs": str(tmp_path / "runs")}
        result = train(environment, settings=given, out=out, live=False)
        assert result.updates > 10
        found.append(read(out).tensors)
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())
    with pytest.raises(ConfigError, match="since a replay is not saved: train from the start with --seed 3"):
        train(resume=result.run, settings={"stop.steps": 9000}, live=False)


def test_a_deterministic_run_with_a_replay_ends_with_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had played cannot be repeated from the replay of the last checkpoint."""
    monkeypatch.setenv(VARIABLE, f"rollout.packing=kill@{20 * (len(Trajectory._fields) - 1) + 3}")
    done = python(*MARL, "train", "CartPole-v1", "--deterministic", "--steps", "20000", *replay(1), *BARE, cwd=tmp_path)
    assert done.returncode == 1
    assert "killed by SIGKILL" in done.stderr
    assert "started again" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_child_has_a_replay_of_its_own(tmp_path: Path) -> None:
    words = ("train", "CartPole-v1", "--local", "1", "--steps", "30000", *OFTEN, *TWO, *replay(4))
    result = json.loads(succeed(*MARL, *words, cwd=tmp_path))
    assert (result["reason"], result["steps"] >= 30_000) == ("steps", True)
    assert is_kept(4, result)
