"""An algorithm of one's own: repeat what went better than expected.

Advantage-weighted regression (Peng et al., 2019): the policy imitates its own actions, each the more the better it
turned out. This works with the actions of any policy, so it also learns from a replay, or from older actors.

    marl train examples.own_environment:Catch-v0 --algorithm examples.own_algorithm:AWR
    marl train examples.own_environment:Catch-v0 --algorithm examples.own_algorithm:AWR --exchange experience
    marl parent examples.own_environment:Catch-v0 --algorithm examples.own_algorithm:AWR --local 2

Its numbers are settings like any other: ``--set algorithm.temperature=0.5``.
"""

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import nn

from marl.algorithms.base import Algorithm, Loss, demand
from marl.algorithms.last_values import following_values, outputs_of
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.networks.build_network import actor_critic
from marl.networks.contract import Policy
from marl.networks.settings import NetworkSettings
from marl.targets.gae import gae
from marl.targets.returns import mean_weights


@dataclass(frozen=True)
class AWR(Algorithm):
    """The numbers of AWR; ``Algorithm`` has those that all have."""

    takes_state: ClassVar[bool] = True  # networks that remember are unrolled by ``outputs_of``

    t_max: int = 8  # steps of a trajectory (5 to 128)
    learning_rate: float = 2e-3  # of the shared optimizer (1e-4 to 5e-3)
    temperature: float = 0.25  # less imitates only the best (.05 to 1)
    entropy_cost: float = 0.02  # more keeps exploring (0 to .05)

    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> nn.Module:
        """A policy and a value; ``network.name`` is looked after."""
        return actor_critic(spaces, settings, seed)

    def loss(self, network: nn.Module, batch: Trajectory) -> Loss:
        """``-exp(A / temperature) log pi(a|s) + (V - target)^2 - entropy_cost H``, mean over all transitions."""
        critic = cast(Policy, network)
        parameters, values = outputs_of(critic, batch)
        seen = values.detach()  # [T + 1, B]
        ends = batch.terminated, batch.truncated
        following = following_values(critic, seen, batch)
        advantages = gae(batch.rewards, seen[:-1], following, *ends, discount=self.discount, gae_lambda=0.95)
        weights = mean_weights(batch.valid)  # [T, B]  0 where a step was only a reset
        worth = (advantages / self.temperature).exp().clamp(max=20.0)
        log_probs = critic.distribution.log_prob(parameters, batch.actions)
        policy_loss = -(weights * worth * log_probs).sum()
        value_loss = (weights * (values[:-1] - (seen[:-1] + advantages)).square()).sum()
        entropy = (weights * critic.distribution.entropy(parameters)).sum()
        total = policy_loss + value_loss - self.entropy_cost * entropy
        metrics = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}
        return Loss(total, {name: torch.Tensor.detach(number) for name, number in metrics.items()})

    def off_policy(self) -> Algorithm:
        """As it is; without this method, a replay and ``--exchange experience`` would be refused."""
        return self

    def validate(self) -> None:
        """Refuse numbers that can never work, with one clear line."""
        super().validate()
        demand(self.temperature > 0, "temperature", "more than 0", self.temperature)


if __name__ == "__main__":
    from marl.api import train

    settings = {"algorithm.name": "examples.own_algorithm:AWR"}
    print(train("examples.own_environment:Catch-v0", settings=settings).reason)
