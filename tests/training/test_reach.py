"""The bound against what the optimizers do, with the gradients that move weights farthest."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch

from marl.algorithms.a3c import A3C
from marl.algorithms.apex_dqn import ApexDQN
from marl.algorithms.ppo import PPO
from marl.algorithms.sac import SAC
from marl.data.node.memory import NUM_VECTORS
from marl.training.optimizers import OptimizerSettings, make_optimizer
from marl.training.reach import reach_of

P, RATE = 50, 2e-3
ALGORITHM = A3C(learning_rate=RATE, t_max=5, max_gradient_norm=0.5)
SGD = OptimizerSettings(name="sgd", momentum=0.9)
OPTIMIZERS = [OptimizerSettings(), OptimizerSettings(name="rmsprop"), SGD, OptimizerSettings(beta1=0.5, beta2=0.9)]


def moved(settings: OptimizerSettings, updates: int, gradient: Callable[[int], torch.Tensor]) -> float:
    """How far weights are from where they began."""
    weights, state = torch.zeros(P, dtype=torch.float64), torch.zeros((NUM_VECTORS, P), dtype=torch.float64)
    optimizer = make_optimizer(settings, state, torch.zeros((), dtype=torch.float32))
    for number in range(updates):
        length = gradient(number)
        optimizer.step(weights, length / max(1.0, float(length.norm()) / 0.5), RATE)
    return float(weights.norm())


@pytest.mark.parametrize("updates", [1, 3, 30, 300])
@pytest.mark.parametrize("settings", OPTIMIZERS, ids=lambda each: f"{each.name} {each.beta1}")
def test_gradients_of_one_size_stay_within_the_usual_reach(settings: OptimizerSettings, updates: int) -> None:
    reach = reach_of(ALGORITHM, settings, P, per_worker=1)
    usual = reach.lengths(updates / reach.per_step / 2, 0, None)[0]
    steady = moved(settings, updates, lambda number: torch.full((P,), 0.05, dtype=torch.float64))
    assert steady <= usual * (1 + 1e-3)  # float32 rounds in torch's own kernel
    assert steady >= 0.2 * usual or settings.name == "sgd"


@pytest.mark.parametrize("settings", OPTIMIZERS, ids=lambda each: f"{each.name} {each.beta1}")
def test_growing_gradients_stay_within_the_longest_reach(settings: OptimizerSettings) -> None:
    reach = reach_of(ALGORITHM, settings, P, per_worker=1)
    longest = reach.lengths(100 / reach.per_step / 2, 0, None)[1]
    growth = settings.beta2 / settings.beta1 if settings.name == "adam" else 1.5

    def growing(number: int) -> torch.Tensor:
        return torch.full((P,), 0.5 / math.sqrt(P) * growth ** (number - 100), dtype=torch.float64)

    assert moved(replace(settings, epsilon=1e-30), 100, growing) <= longest * (1 + 1e-3)


@dataclass(frozen=True)
class Own(A3C):
    """A user's, which says nothing of how often it learns."""

    def minibatches(self, network: object, trajectory: object, moment: object) -> object:  # type: ignore[override]
        return iter([trajectory] * 7)

    def settle(self, weights: torch.Tensor, num_parameters: int, updates: int) -> None:
        """Some copy."""


def test_how_often_algorithms_learn() -> None:
    settings = OptimizerSettings()
    assert reach_of(ALGORITHM, settings, P, per_worker=2).per_step == 1 / 10
    assert reach_of(PPO(t_max=10, epochs=4, num_minibatches=5), settings, P, per_worker=2).per_step == 1.0
    replayed = reach_of(SAC(t_max=16), settings, P, per_worker=1, replay_ratio=64, batch_size=128)
    assert (replayed.per_step, replayed.lag) == (0.5, 200.0)
    assert reach_of(ApexDQN(target_period=50), settings, P, per_worker=1, replay_ratio=8).lag == 50
    own = reach_of(Own(), settings, P, per_worker=1)
    assert own.per_step == math.inf
    assert own.lag == 10_000
    falling = replace(ALGORITHM, schedule="linear", schedule_steps=10, final_learning_rate=1.0)
    assert reach_of(falling, settings, 1, per_worker=1).usual == 1.0
