"""Asynchronous advantage actor-critic.

Mnih et al., "Asynchronous Methods for Deep Reinforcement Learning" (2016). One environment a worker and t_max = 5 is
the paper's form; B environments a worker is the same code. ``gae_lambda`` 1 gives the paper's n-step returns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from marl.algorithms.base import Loss
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.networks.actor_critic import ActorCritic
from marl.networks.settings import NetworkSettings
from marl.targets.gae import gae
from marl.targets.returns import mean_weights, next_values, standardized


@dataclass(frozen=True)
class A3C:
    """The numbers of A3C."""

    name: str = "a3c"
    t_max: int = 5  # steps between updates; more gives better returns and staler policies (5 to 128)
    discount: float = 0.99  # worth of a reward one step later; longer tasks want more (.98 to .999)
    gae_lambda: float = 1.0  # 1: n-step returns; less: less variance, more bias (.9 to 1)
    value_cost: float = 0.5  # weight of the value loss (.25 to 1)
    entropy_cost: float = 0.01  # weight of the entropy bonus: more keeps exploring (0 to .02)
    learning_rate: float = 2e-3  # of the shared optimizer (1e-4 to 5e-3)
    final_learning_rate: float = 0.0  # where a linear or cosine schedule ends
    schedule: str = "constant"  # or "linear", "cosine": over stop.steps, or algorithm.schedule_steps
    schedule_steps: int = 0  # environment steps of the schedule; 0: those of stop.steps
    max_gradient_norm: float = 0.5  # longer gradients are cut to this length (.5 to 40)
    normalize_advantages: bool = False  # to deviation 1 in each batch; steadier with scaled rewards, slower on CartPole

    def learning_rate_at(self, progress: float) -> float:
        """Learning rate when ``progress`` (0 to 1) of the schedule is done."""
        if self.schedule == "constant":
            return self.learning_rate
        remaining = 1.0 - min(max(progress, 0.0), 1.0)
        if self.schedule == "cosine":
            remaining = 0.5 - 0.5 * torch.cos(torch.tensor(remaining * torch.pi)).item()
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * remaining

    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> ActorCritic:
        """A policy and a value."""
        return ActorCritic(spaces, settings, seed)

    def minibatches(self, trajectory: Trajectory) -> Iterator[Trajectory]:
        """Each trajectory is used once, whole."""
        yield trajectory

    def loss(self, network: nn.Module, batch: Trajectory) -> Loss:
        """Policy gradient with a value baseline and an entropy bonus."""
        return a3c_loss(
            cast(ActorCritic, network),
            batch,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
            value_cost=self.value_cost,
            entropy_cost=self.entropy_cost,
            normalize_advantages=self.normalize_advantages,
        )


def a3c_loss(
    network: ActorCritic,
    batch: Trajectory,
    *,
    discount: float,
    gae_lambda: float,
    value_cost: float,
    entropy_cost: float,
    normalize_advantages: bool = False,
) -> Loss:
    """``-log pi(a|s) A - entropy_cost H(pi) + value_cost (R - V)^2``, mean over the steps that are transitions."""
    parameters, values = network.policy_and_values(batch.observations)
    baseline = values.detach()
    advantages = gae(
        batch.rewards,
        baseline[:-1],
        next_values(baseline, _last_values(network, batch), batch.last_index),
        batch.terminated,
        batch.truncated,
        discount=discount,
        gae_lambda=gae_lambda,
    )
    weights = mean_weights(batch.valid)
    errors = values[:-1] - (advantages + baseline[:-1])
    value_loss = torch.dot((errors * weights).flatten(), errors.flatten())
    if normalize_advantages:
        advantages = standardized(advantages, weights)
    total, policy_loss, entropy = network.distribution.policy_gradient_loss(
        parameters, batch.actions, advantages, weights, entropy_cost
    )
    total = torch.add(total, value_loss, alpha=value_cost)
    return Loss(total, {"policy_loss": policy_loss, "value_loss": value_loss.detach(), "entropy": entropy})


@torch.no_grad()
def _last_values(network: ActorCritic, batch: Trajectory) -> Tensor:
    if not len(batch.last_index):
        return batch.rewards.new_zeros(0)
    return network.values(batch.last_observations)
