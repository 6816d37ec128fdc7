"""Two thousand steps of training in a world of each package, as ``marl train`` plays them with its preset."""

from pathlib import Path

import pytest

from marl.api import load, train

WORLDS = {
    "MiniGrid-Empty-5x5-v0": "minigrid",
    "InvertedPendulum-v5": "mujoco",
    "ALE/Pong-v5": "ale_py",
    "CarRacing-v3": "Box2D",
}
SLOW = ("CarRacing-v3",)  # each step draws a picture


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow) if each in SLOW else each for each in WORLDS]
)
def test_it_trains(name: str, tmp_path: Path) -> None:
    pytest.importorskip(WORLDS[name], reason="requirements-dev.txt installs it")
    settings = {
        "seed": 1, "stop.steps": 2_000, "stop.solved": False, "node.workers": 1, "evaluation.episodes": 0,
        "evaluation.final_episodes": 0, "report.runs": str(tmp_path / "runs"), "report.pictures": False,
        "report.sinks": ["metrics"], "replay.start": 500,
    }  # fmt: skip
    result = train(name, settings=settings, out=tmp_path / "weights.pt", live=False)
    assert (result.reason, result.failure) == ("steps", None)
    assert result.steps >= 2_000
    assert result.updates > 0
    assert load(result.weights) is not None
