"""Asynchronous advantage actor-critic.

Mnih et al., "Asynchronous Methods for Deep Reinforcement Learning" (2016). One environment a worker and t_max = 5 is
the paper's form; B environments a worker is the same code. ``gae_lambda`` 1 gives the paper's n-step returns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from marl.algorithms.base import Algorithm, Loss, Moment, demand
from marl.algorithms.impala import IMPALA
from marl.algorithms.last_values import following_values, outputs_of
from marl.algorithms.shared_advantages import SharedTrajectory, opened, parts_of
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.networks.build_network import actor_critic
from marl.networks.contract import Policy
from marl.networks.sampling import Rank
from marl.networks.settings import NetworkSettings
from marl.targets.gae import gae
from marl.targets.returns import mean_weights, moments_of, standardized, standardized_by


@dataclass(frozen=True)
class A3C(Algorithm):
    """The numbers of A3C."""

    takes_state: ClassVar[bool] = True

    name: str = "a3c"
    learning_rate: float = 2e-3  # of the shared optimizer (1e-4 to 5e-3)
    gae_lambda: float = 1.0  # 1: n-step returns; less: less variance, more bias (.9 to 1)
    value_cost: float = 0.5  # weight of the value loss (.25 to 1)
    entropy_cost: float = 0.01  # weight of the entropy bonus: more keeps exploring (0 to .02)
    entropy_spread: float = 1.0  # the last worker's entropy_cost, in those of the first
    normalize_advantages: bool = False  # to deviation 1 in each batch; steadier with scaled rewards, slower on CartPole

    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> nn.Module:
        """A policy and a value."""
        return actor_critic(spaces, settings, seed)

    def minibatches(
        self, network: nn.Module, trajectory: Trajectory, moment: Moment
    ) -> Iterator[Trajectory | SharedTrajectory]:
        """The trajectory; see ``SharedTrajectory``."""

        def moments() -> Tensor:
            critic = cast(Policy, network)
            with torch.no_grad():
                values = outputs_of(critic, trajectory).values
            own = _advantages(critic, values, trajectory, discount=self.discount, gae_lambda=self.gae_lambda)
            return moments_of(own, trajectory.valid)

        return parts_of(trajectory, moment, moments, normalize=self.sums_per_trajectory() > 0)

    def batches_per_trajectory(self) -> float:
        """See ``Algorithm.batches_per_trajectory``."""
        return 1.0 if type(self).minibatches is A3C.minibatches else super().batches_per_trajectory()

    def sums_per_trajectory(self) -> int:
        """See ``Algorithm.sums_per_trajectory``. The loss of a subclass knows only trajectories."""
        return int(self.normalize_advantages and type(self).loss is A3C.loss)

    def loss(self, network: nn.Module, batch: Trajectory | SharedTrajectory) -> Loss:
        """Policy gradient with a value baseline and an entropy bonus."""
        trajectory, moments = opened(batch)
        return a3c_loss(
            cast(Policy, network),
            trajectory,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
            value_cost=self.value_cost,
            entropy_cost=self.entropy_cost,
            normalize_advantages=self.normalize_advantages,
            moments=moments,
        )

    def off_policy(self) -> Algorithm:
        """IMPALA with the same numbers: A3C with V-trace."""
        if type(self) is not A3C:
            return super().off_policy()  # IMPALA would not know what a subclass has changed
        return IMPALA(
            t_max=self.t_max,
            discount=self.discount,
            learning_rate=self.learning_rate,
            final_learning_rate=self.final_learning_rate,
            schedule=self.schedule,
            schedule_steps=self.schedule_steps,
            schedule_minutes=self.schedule_minutes,
            max_gradient_norm=self.max_gradient_norm,
            trace_lambda=self.gae_lambda,
            value_cost=self.value_cost,
            entropy_cost=self.entropy_cost,
            entropy_spread=self.entropy_spread,
            normalize_advantages=self.normalize_advantages,
        )

    def for_worker(self, rank: Rank) -> Algorithm:
        """With its own share of exploration."""
        return replace(self, entropy_cost=self.entropy_cost * self.entropy_spread ** rank.fraction())

    def validate(self) -> None:
        """See ``Algorithm.validate``."""
        super().validate()
        demand(self.entropy_spread > 0, "entropy_spread", "more than 0", self.entropy_spread)
        demand(0 <= self.gae_lambda <= 1, "gae_lambda", "0 to 1", self.gae_lambda)


def a3c_loss(
    network: Policy,
    batch: Trajectory,
    *,
    discount: float,
    gae_lambda: float,
    value_cost: float,
    entropy_cost: float,
    normalize_advantages: bool = False,
    moments: Tensor | None = None,
) -> Loss:
    """``-log pi(a|s) A - entropy_cost H(pi) + value_cost (R - V)^2``, mean over the steps that are transitions.

    ``moments``: of the advantages to normalise by; None: those of this batch.
    """
    parameters, values = outputs_of(network, batch)
    baseline = values.detach()
    advantages = _advantages(network, baseline, batch, discount=discount, gae_lambda=gae_lambda)
    weights = mean_weights(batch.valid)
    errors = values[:-1] - (advantages + baseline[:-1])
    value_loss = torch.dot((errors * weights).flatten(), errors.flatten())
    if normalize_advantages:
        advantages = standardized(advantages, weights) if moments is None else standardized_by(advantages, moments)
    total, policy_loss, entropy = network.distribution.policy_gradient_loss(
        parameters, batch.actions, advantages, weights, entropy_cost
    )
    total = torch.add(total, value_loss, alpha=value_cost)
    return Loss(total, {"policy_loss": policy_loss, "value_loss": value_loss.detach(), "entropy": entropy})


def _advantages(network: Policy, values: Tensor, batch: Trajectory, *, discount: float, gae_lambda: float) -> Tensor:
    """By how much what was done was better [T, B] than values [T + 1, B] said, which have no gradient."""
    return gae(
        batch.rewards,
        values[:-1],
        following_values(network, values, batch),
        batch.terminated,
        batch.truncated,
        discount=discount,
        gae_lambda=gae_lambda,
    )
