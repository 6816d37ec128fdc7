"""Soft actor-critic: as much reward as can be had by a policy that stays as random as it may.

Haarnoja et al., "Soft Actor-Critic Algorithms and Applications" (2018): two critics, a policy squashed into the box,
and a temperature that keeps its entropy at a target.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from marl.algorithms.base import Algorithm, Loss, demand
from marl.algorithms.replayed import cut, parts, priorities_of
from marl.data.replay.transitions import Sampled, Transitions
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.networks.build_network import sac_network
from marl.networks.sac_network import SACNetwork
from marl.networks.settings import NetworkSettings


@dataclass(frozen=True)
class SAC(Algorithm):
    """The numbers of SAC."""

    learns_from: ClassVar[str] = "transitions"
    replay_ratio: ClassVar[float] = 64.0

    name: str = "sac"
    t_max: int = 16  # steps of a trajectory; its last n_step - 1 transitions are shorter (1 to 64)
    max_gradient_norm: float = 40.0  # longer gradients are cut to this length (.5 to 40)
    n_step: int = 1  # rewards in a target before values take over; more is faster and less exact (1 to 5)
    target_rate: float = 0.005  # how far target networks follow at each update (.001 to .05)
    temperature: float = 1.0  # worth of entropy at the start; it adapts
    target_entropy: float | None = None  # in nats, of actions in [-1, 1]; none: -1 for each number of an action

    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> SACNetwork:
        """A policy, two critics and their copies, a temperature."""
        return sac_network(spaces, settings, seed, temperature=self.temperature)

    def transitions(self, network: nn.Module, trajectory: Trajectory) -> tuple[Transitions, Tensor]:
        """Of up to ``n_step`` steps each."""
        transitions, twins = cut(trajectory, discount=self.discount, n=self.n_step), cast(SACNetwork, network)
        with torch.no_grad():
            values = twins.values(transitions.observations, transitions.actions)
            errors = values - self._targets(twins, transitions, None)
        return transitions, priorities_of(errors.abs().mean(0))

    def loss(self, network: nn.Module, batch: Sampled) -> Loss:
        """The sum of three losses, each with a gradient to its own part alone: critics, policy and temperature.

        All are means over the transitions, each times its weight.
        """
        twins, (observations, actions, *_) = cast(SACNetwork, network), batch.transitions
        weights = batch.weights / len(batch.weights)
        targets = self._targets(twins, batch.transitions, batch.generator)
        values = twins.values(observations, actions)
        errors = values - targets
        value_loss = (errors.square() @ weights).sum()

        parameters = twins.policy(observations)
        noise = twins.distribution.noise((len(weights),), batch.generator).to(weights.device)
        own, log_probs = twins.distribution.sample_with_log_prob(parameters, noise)
        worth = twins.fixed_values(observations, own).amin(0)
        temperature = twins.temperature.log.detach().exp()
        policy_loss = torch.dot(temperature * log_probs - worth, weights)

        target_entropy = -float(twins.distribution.size) if self.target_entropy is None else self.target_entropy
        surplus = -torch.dot(log_probs.detach() + target_entropy, weights)
        total = 0.5 * value_loss + policy_loss + twins.temperature.log * surplus
        metrics = {
            "policy_loss": policy_loss.detach(),
            "value_loss": value_loss.detach(),
            "entropy": -log_probs.detach().mean(),
            "q_mean": values.detach().mean(),
        }
        return Loss(total, metrics, priorities_of(errors.abs().mean(0)))

    def settle(self, weights: Tensor, num_parameters: int, unused_updates: int) -> None:
        """Move the target networks a little after the critics."""
        followed, target = parts(weights, num_parameters)
        target.lerp_(followed, self.target_rate)

    def lag(self) -> float:
        """See ``Algorithm.lag``."""
        return 1 / self.target_rate if type(self).settle is SAC.settle else super().lag()

    def validate(self) -> None:
        """See ``Algorithm.validate``."""
        super().validate()
        demand(self.n_step >= 1, "n_step", "at least 1", self.n_step)
        demand(0 < self.target_rate <= 1, "target_rate", "more than 0, at most 1", self.target_rate)
        demand(0 < self.temperature < math.inf, "temperature", "more than 0 and finite", self.temperature)

    @torch.no_grad()
    def _targets(self, network: SACNetwork, batch: Transitions, generator: torch.Generator | None) -> Tensor:
        """Targets [N] of both critics: the lesser value of an action that the policy draws next, and its entropy."""
        parameters = network.policy(batch.next_observations)
        noise = network.distribution.noise((len(batch.returns),), generator).to(batch.returns.device)
        actions, log_probs = network.distribution.sample_with_log_prob(parameters, noise)
        worth = network.target(batch.next_observations, actions).amin(0) - network.temperature.log.exp() * log_probs
        return torch.addcmul(batch.returns, batch.discounts, worth)
