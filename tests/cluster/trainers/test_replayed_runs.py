"""Runs of the real command that learn from the shared replay."""

import json
from pathlib import Path
from typing import Any

import pytest

from marl.data.trajectory import Trajectory
from marl.failpoints import VARIABLE
from tests.commands import BARE, MARL, PATIENCE_S, metrics, nothing_left, run_folder, started, succeed
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


@pytest.mark.slow
def test_a_child_has_a_replay_of_its_own(tmp_path: Path) -> None:
    words = ("train", "CartPole-v1", "--local", "1", "--steps", "30000", *OFTEN, *TWO, *replay(4))
    result = json.loads(succeed(*MARL, *words, cwd=tmp_path))
    assert (result["reason"], result["steps"] >= 30_000) == ("steps", True)
    assert is_kept(4, result)
