"""Observations that are stacks of frames: every way in which trajectories and transitions travel and are kept."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation

from marl.api import evaluate, load, train
from marl.data.spaces import Part, Spaces
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments

SIDE, DEPTH, LENGTH = 40, 3, 12


class Falling(gymnasium.Env[np.ndarray, int]):
    """A bright line falls down one of two halves; to be in the same half earns 1. One picture does not show it move."""

    observation_space = gymnasium.spaces.Box(0, 255, (SIDE, SIDE), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._half, self._row = int(self.np_random.integers(2)), 0
        return self._shown(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._row += 1
        return self._shown(), float(action == self._half), False, self._row >= LENGTH, {}

    def _shown(self) -> np.ndarray:
        picture = np.zeros((SIDE, SIDE), np.uint8)
        picture[3 * self._row, self._half * SIDE // 2 : (self._half + 1) * SIDE // 2] = 255
        return picture


def stacked() -> gymnasium.Env[Any, Any]:
    """As gymnasium stacks them."""
    return FrameStackObservation(Falling(), DEPTH)


class Hidden(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Says nothing of what it wraps."""

    def has_wrapper_attr(self, name: str) -> bool:
        return name != "stack_size" and super().has_wrapper_attr(name)


def unknown() -> gymnasium.Env[Any, Any]:
    return Hidden(stacked())


def spaces_of(name: str) -> Spaces:
    environments = make_environments(EnvironmentSettings(id=f"{__name__}:{name}"), 1)
    environments.close()
    return environments.spaces


def test_an_environment_says_that_it_stacks() -> None:
    assert spaces_of("stacked").observations == Part((DEPTH, SIDE, SIDE), "uint8", frames=DEPTH)
    assert spaces_of("unknown").observations == Part((DEPTH, SIDE, SIDE), "uint8")


@pytest.mark.usefixtures("marl_home")
@pytest.mark.parametrize(
    ("algorithm", "exchange", "settings"),
    [
        ("ppo", "weights", {}),
        ("impala", "experience", {}),
        ("impala", "weights", {"replay.ratio": 1.0, "replay.capacity": 4000}),
        ("apex_dqn", "weights", {"replay.start": 50, "replay.batch_size": 8, "replay.capacity": 400}),
        ("apex_dqn", "experience", {"replay.start": 50, "replay.batch_size": 8, "replay.capacity": 400}),
        (
            "apex_dqn",
            "weights",
            {"replay.start": 50, "replay.batch_size": 8, "replay.capacity": 400, "network.core": "gru"},
        ),
        ("ppo", "observations", {}),
    ],
)
def test_it_trains(
    algorithm: str, exchange: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = train(
        f"{__name__}:stacked",
        settings={
            "algorithm.name": algorithm,
            "exchange.name": exchange,
            "environment.per_worker": 2,
            "node.workers": 1,
            "evaluation.final_episodes": 2,
            "evaluation.episodes": 2,
            "report.pictures": False,
            "stop.solved": False,
            "stop.steps": 3000 if exchange == "experience" else 600,  # a learner has to start first
            **settings,
        },
        live=False,
    )
    assert result.updates > 0
    policy = load("weights.pt")
    assert policy.spaces.observations.frames == DEPTH
    assert policy.act(stacked().reset(seed=0)[0]) in (0, 1)
    assert evaluate("weights.pt", episodes=2).summary.episodes == 2
