"""Every algorithm and exchange trains on observations and actions that are trees, as on one array."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marl.api import evaluate, load, train
from marl.errors import ConfigError
from tests.robots import Arm, Picker, Robot

SETTINGS = {
    "environment.ignore": ["name"],
    "environment.per_worker": 2,
    "node.workers": 1,
    "network.hidden": [16],
    "evaluation.final_episodes": 2,
    "evaluation.episodes": 2,
    "report.pictures": False,
    "stop.solved": False,
    "stop.steps": 300,
}
LEARNER = {"stop.steps": 4000}  # a learner is a process more, and has to start before the actors are done
REPLAYED = {"replay.start": 50, "replay.batch_size": 8, "replay.ratio": 2.0}


@pytest.mark.usefixtures("marl_home")
@pytest.mark.parametrize("normalizes", [False, True])
@pytest.mark.parametrize(
    ("kind", "algorithm", "exchange"),
    [
        (Robot, "a3c", "weights"),
        (Robot, "ppo", "weights"),
        (Robot, "impala", "experience"),
        (Robot, "ppo", "observations"),
        (Picker, "apex_dqn", "experience"),
        (Arm, "sac", "experience"),
    ],
)
def test_it_trains(
    kind: type[Robot], algorithm: str, exchange: str, normalizes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings: dict[str, Any] = {
        **SETTINGS,
        "algorithm.name": algorithm,
        "exchange.name": exchange,
        "environment.normalize_observations": normalizes,
        **(LEARNER if exchange == "experience" else {}),
        **(REPLAYED if kind is not Robot else {}),
    }
    result = train(f"tests.robots:{kind.__name__}", settings=settings, live=False)
    assert result.updates > 0
    assert result.steps >= 300
    policy = load("weights.pt")
    observation, _ = kind().reset(seed=0)
    assert kind.action_space.contains(policy.act(observation))
    many = {name: np.stack([value] * 3) for name, value in observation.items() if name not in ("body", "name")}
    many["body"] = tuple(np.stack([value] * 3) for value in observation["body"])
    actions = policy.act(many)
    first = actions["arm"] if kind is Robot else actions
    assert len(first) == 3
    assert evaluate("weights.pt", episodes=2).summary.episodes == 2


@pytest.mark.parametrize(("algorithm", "words"), [("apex_dqn", "try ppo"), ("sac", "try ppo")])
def test_who_cannot_play_says_so(algorithm: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        train("tests.robots:Robot", settings={**SETTINGS, "algorithm.name": algorithm}, live=False)
