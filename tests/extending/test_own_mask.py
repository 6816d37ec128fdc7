"""Actions that are forbidden at times: a network from outside the package masks them, wherever actions are drawn."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from marl.acting.collect import Collector
from marl.algorithms.a3c import A3C
from marl.api import evaluate, train
from marl.data.spaces import Spaces
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.errors import EnvironmentFault
from marl.networks.contract import StatelessCritic
from marl.networks.distributions import distribution_for
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten

DOORS, FORBIDDEN = 4, -1e9
LOCKS, MASKED = f"{__name__}:Locks", f"{__name__}:Masked"


class Locks(gymnasium.Env[Any, Any]):
    """Shows which doors are open; a locked one must not be tried."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 1, (DOORS,), np.float32)
        self.action_space = spaces.Discrete(DOORS)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._left = 5
        return self._shown(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self._open[int(action)]:
            raise ValueError("this door is locked")
        self._left -= 1
        return self._shown(), 1.0, self._left == 0, False, {}

    def _shown(self) -> Any:
        self._open = self.np_random.random(DOORS) < 0.5
        self._open[self.np_random.integers(DOORS)] = True
        return self._open.astype(np.float32)


class Masked(StatelessCritic):
    """The mask is a part of the observation; parameters of what it forbids are so low that they have no chance."""

    def __init__(self, space: Spaces, settings: NetworkSettings, seed: int) -> None:
        super().__init__()
        self.distribution = distribution_for(space)
        self.actor, self.critic = nn.Linear(DOORS, DOORS), nn.Linear(DOORS, 1)

    def policy(self, observations: Tensor) -> Tensor:
        logits: Tensor = self.actor(observations)
        return logits.masked_fill(observations < 0.5, FORBIDDEN)

    def values(self, observations: Tensor) -> Tensor:
        values: Tensor = self.critic(observations)
        return values.squeeze(-1)


@pytest.mark.parametrize("name", ["", MASKED])
def test_only_a_mask_keeps_the_doors_shut(name: str) -> None:
    environments = make_environments(EnvironmentSettings(id=LOCKS), 8)
    network: Any = A3C().build_network(environments.spaces, NetworkSettings(name=name), 0)
    flatten(network)
    collector = Collector(
        environments,
        length=50,
        discount=0.9,
        reward_scale=1.0,
        generator=torch.Generator().manual_seed(1),
        seeds=list(range(8)),
    )
    if not name:
        with pytest.raises(EnvironmentFault, match="this door is locked"):
            collector.collect(network, None, 0)
        return
    trajectory, _ = collector.collect(network, None, 0)
    allowed = trajectory.observations[:-1].gather(-1, trajectory.actions.unsqueeze(-1)).squeeze(-1)
    assert bool((allowed[trajectory.valid] == 1).all())
    loss = A3C().loss(network, trajectory).total
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(bool(torch.isfinite(each.grad).all()) for each in network.parameters())


def test_a_run_with_a_mask(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers, evaluation and the weights file draw no forbidden action, greedy or not."""
    monkeypatch.chdir(tmp_path)
    settings = {
        "network.name": MASKED,
        "environment.normalize_observations": False,
        "node.workers": 1,
        "stop.steps": 3000,
        "report.pictures": False,
        "report.sinks": [],
    }
    result = train(LOCKS, settings=settings, live=False)
    assert result.reason == "steps"
    assert evaluate(result.weights, episodes=3, allow=("tests",)).mean == 5.0
