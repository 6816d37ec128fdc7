"""Actor-critic for trajectories that older weights have played: V-trace makes up for the difference.

Espeholt et al., "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures" (2018).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from marl.algorithms.base import Algorithm, Loss, Moment, demand
from marl.algorithms.last_values import following_values, outputs_of
from marl.algorithms.shared_advantages import SharedTrajectory, opened, parts_of
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.networks.build_network import actor_critic
from marl.networks.contract import Outputs, Policy
from marl.networks.sampling import Rank
from marl.networks.settings import NetworkSettings
from marl.targets.returns import mean_weights, moments_of, standardized, standardized_by
from marl.targets.vtrace import VTrace, vtrace


@dataclass(frozen=True)
class IMPALA(Algorithm):
    """The numbers of IMPALA."""

    exchange: ClassVar[str] = "experience"
    takes_state: ClassVar[bool] = True

    name: str = "impala"
    t_max: int = 20  # steps of a trajectory (20 to 100)
    trace_lambda: float = 1.0  # less: less variance, more bias (.9 to 1)
    max_rho: float = 1.0  # ratios are cut there in the targets; less learns the value of an older policy
    max_c: float = 1.0  # likewise in the traces: how far surprises travel back; at most max_rho
    value_cost: float = 0.5  # weight of the value loss (.25 to 1)
    entropy_cost: float = 0.01  # weight of the entropy bonus: more keeps exploring (0 to .02)
    entropy_spread: float = 1.0  # the last worker's entropy_cost, in those of the first
    normalize_advantages: bool = False  # to deviation 1 in each batch

    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> nn.Module:
        """A policy and a value."""
        return actor_critic(spaces, settings, seed)

    def minibatches(
        self, network: nn.Module, trajectory: Trajectory, moment: Moment
    ) -> Iterator[Trajectory | SharedTrajectory]:
        """The trajectory; see ``SharedTrajectory``."""

        def moments() -> Tensor:
            actor = cast(Policy, network)
            with torch.no_grad():
                outputs = outputs_of(actor, trajectory)
            numbers = {"max_rho": self.max_rho, "max_c": self.max_c}
            corrected, _ = _corrected(
                actor, outputs, trajectory, discount=self.discount, trace_lambda=self.trace_lambda, **numbers
            )
            return moments_of(_plain(corrected), trajectory.valid * corrected.rhos)

        return parts_of(trajectory, moment, moments, normalize=self.sums_per_trajectory() > 0)

    def batches_per_trajectory(self) -> float:
        """See ``Algorithm.batches_per_trajectory``."""
        return 1.0 if type(self).minibatches is IMPALA.minibatches else super().batches_per_trajectory()

    def sums_per_trajectory(self) -> int:
        """See ``Algorithm.sums_per_trajectory``. The loss of a subclass knows only trajectories."""
        return int(self.normalize_advantages and type(self).loss is IMPALA.loss)

    def loss(self, network: nn.Module, batch: Trajectory | SharedTrajectory) -> Loss:
        """Policy gradient and value error, both weighed by how likely the present policy would have acted so."""
        trajectory, moments = opened(batch)
        return vtrace_loss(
            cast(Policy, network),
            trajectory,
            discount=self.discount,
            trace_lambda=self.trace_lambda,
            max_rho=self.max_rho,
            max_c=self.max_c,
            value_cost=self.value_cost,
            entropy_cost=self.entropy_cost,
            normalize_advantages=self.normalize_advantages,
            moments=moments,
        )

    def off_policy(self) -> Algorithm:
        """As it is."""
        return self

    def for_worker(self, rank: Rank) -> Algorithm:
        """With its own share of exploration."""
        return replace(self, entropy_cost=self.entropy_cost * self.entropy_spread ** rank.fraction())

    def validate(self) -> None:
        """See ``Algorithm.validate``."""
        super().validate()
        demand(0 <= self.trace_lambda <= 1, "trace_lambda", "0 to 1", self.trace_lambda)
        demand(self.max_rho > 0, "max_rho", "more than 0", self.max_rho)
        demand(0 < self.max_c <= self.max_rho, "max_c", "more than 0, at most max_rho", self.max_c)
        demand(self.entropy_spread > 0, "entropy_spread", "more than 0", self.entropy_spread)


def vtrace_loss(
    network: Policy,
    batch: Trajectory,
    *,
    discount: float,
    trace_lambda: float,
    max_rho: float,
    max_c: float,
    value_cost: float,
    entropy_cost: float,
    normalize_advantages: bool = False,
    moments: Tensor | None = None,
) -> Loss:
    """``-rho log pi(a|s) A - entropy_cost H(pi) + value_cost (v - V)^2``, mean over the steps that are transitions.

    ``moments``: of the advantages to normalise by; None: those of this batch.
    """
    distribution = network.distribution
    parameters, values = outputs = outputs_of(network, batch)
    numbers = {"discount": discount, "trace_lambda": trace_lambda, "max_rho": max_rho, "max_c": max_c}
    corrected, log_ratios = _corrected(network, outputs, batch, **numbers)
    weights = mean_weights(batch.valid)
    errors = values[:-1] - corrected.targets
    value_loss = torch.dot((errors * weights).flatten(), errors.flatten())
    advantages = _standardized(corrected, weights, moments) if normalize_advantages else corrected.advantages
    total, policy_loss, entropy = distribution.policy_gradient_loss(
        parameters, batch.actions, advantages, weights, entropy_cost
    )
    metrics = {
        "policy_loss": policy_loss,
        "value_loss": value_loss.detach(),
        "entropy": entropy,
        "kl": torch.dot((log_ratios.exp() - 1.0 - log_ratios).flatten(), weights.flatten()),
        "clipped": torch.dot((log_ratios > torch.tensor(max_rho).log()).float().flatten(), weights.flatten()),
    }
    return Loss(torch.add(total, value_loss, alpha=value_cost), metrics)


@torch.no_grad()
def _corrected(
    network: Policy,
    outputs: Outputs,
    batch: Trajectory,
    *,
    discount: float,
    trace_lambda: float,
    max_rho: float,
    max_c: float,
) -> tuple[VTrace, Tensor]:
    """Targets and advantages by V-trace, and the logarithms [T, B] of the ratios of the present policy to the old."""
    distribution, values = network.distribution, outputs.values.detach()
    acted = distribution.log_prob(batch.behaviour, batch.actions)
    log_ratios = distribution.log_prob(outputs.parameters, batch.actions) - acted
    corrected = vtrace(
        log_ratios,
        batch.rewards,
        values[:-1],
        following_values(network, values, batch),
        batch.terminated,
        batch.truncated,
        discount=discount,
        trace_lambda=trace_lambda,
        max_rho=max_rho,
        max_c=max_c,
        max_policy_rho=max_rho,
    )
    return corrected, log_ratios


def _plain(corrected: VTrace) -> Tensor:
    """Advantages [T, B] without the ratio of their own step."""
    return corrected.advantages / corrected.rhos.clamp_min(1e-6)


def _standardized(corrected: VTrace, weights: Tensor, moments: Tensor | None) -> Tensor:
    """Mean and deviation are those under the present policy, to which a step counts ``rho``: subtracted after the
    product, the mean would move the policy even where it would never act so.
    """
    if moments is not None:
        return corrected.rhos * standardized_by(_plain(corrected), moments)
    shares, plain = weights * corrected.rhos, _plain(corrected)
    return corrected.rhos * standardized(plain, shares / shares.sum().clamp_min(1e-6))
