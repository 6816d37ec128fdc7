"""Deep Q-learning with many actors: each explores at a rate of its own, all learn from one prioritised replay.

Horgan et al., "Distributed Prioritized Experience Replay" (2018). An actor is one environment of one worker here; the
workers learn as well. With a network that remembers it learns from whole sequences, each from the state that was stored
with it: Kapturowski et al., "Recurrent Experience Replay in Distributed Reinforcement Learning" (R2D2, 2019).
"""

from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from marl.algorithms.base import Algorithm, Loss, demand
from marl.algorithms.replayed import cut, parts, priorities_of
from marl.algorithms.sequence_errors import sequence_errors, sequence_priorities
from marl.data.layout import is_empty
from marl.data.replay.sequences import Sequences, sequences_of, trajectory_of
from marl.data.replay.transitions import Rows, Sampled, Transitions
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.networks.build_network import q_network
from marl.networks.contract import ActionValuePolicy, RecurrentActionValues
from marl.networks.distributions import ActionRule
from marl.networks.sampling import EpsilonGreedy, Rank, Sampler
from marl.networks.settings import NetworkSettings
from marl.targets.double_q import double_q_targets


@dataclass(frozen=True)
class ApexDQN(Algorithm):
    """The numbers of Ape-X DQN."""

    learns_from: ClassVar[str] = "transitions"
    replay_ratio: ClassVar[float] = 8.0
    takes_state: ClassVar[bool] = True

    name: str = "apex_dqn"
    t_max: int = 16  # steps of a trajectory; its last n_step - 1 transitions are shorter (8 to 64)
    max_gradient_norm: float = 40.0  # longer gradients are cut to this length (.5 to 40)
    n_step: int = 3  # rewards in a target before values take over; more is faster and less exact (1 to 5)
    double: bool = True  # one network chooses the next action, its older copy gives its value; else the copy does both
    dueling: bool = True  # value and advantages apart
    burn_in: int = 0  # steps before a sequence that only warm what is remembered (0 to t_max); more: less stale
    rescaled: bool = False  # learn sign(x)(sqrt(|x| + 1) - 1) + x/1000 of values x, where their sizes differ much
    huber: float = 1.0  # errors count in proportion beyond this, squared below; 0: always squared
    target_period: int = 200  # updates of a worker between two copies of the network (50 to 2500)
    epsilon: float = 0.4  # chance of a random action in the environment that explores most
    epsilon_alpha: float = 7.0  # the environment that explores least has epsilon to the power 1 + epsilon_alpha

    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> nn.Module:
        """Values of actions and their older copy."""
        return q_network(spaces, settings, seed, dueling=self.dueling)

    def transitions(self, network: nn.Module, trajectory: Trajectory) -> tuple[Rows, Tensor]:
        """Of up to ``n_step`` steps each; where the network remembers, each environment's sequence."""
        if not is_empty(trajectory.state):
            rows = sequences_of(trajectory)
            batch = self._trajectory(rows)
            with torch.no_grad():
                errors, _ = self._sequence_errors(network, batch)
            return rows, sequence_priorities(errors, batch.valid[self.burn_in :])
        transitions = cut(trajectory, discount=self.discount, n=self.n_step)
        with torch.no_grad():
            return transitions, priorities_of(self._errors(cast(ActionValuePolicy, network), transitions)[0])

    def loss(self, network: nn.Module, batch: Sampled) -> Loss:
        """Huber's loss of each error, times the weight of its transition or sequence, mean over all."""
        if isinstance(batch.transitions, Sequences):
            return self._sequence_loss(network, self._trajectory(batch.transitions), batch.weights)
        errors, chosen = self._errors(cast(ActionValuePolicy, network), batch.transitions)
        with torch.no_grad():
            weighted = batch.weights * errors / len(errors)
            value_loss = torch.dot(weighted, errors)
            # The gradient of the loss by the value, so that the value times it has the loss's own gradient.
            slopes = weighted if not self.huber else batch.weights * errors.clamp(-self.huber, self.huber) / len(errors)
        metrics = {"value_loss": value_loss, "q_mean": chosen.detach().mean()}
        return Loss(torch.dot(chosen, slopes), metrics, priorities_of(errors))

    def count(self, batch: Sampled) -> float:
        """See ``Algorithm.count``."""
        rows = batch.transitions
        return float(rows.valid[:, self.burn_in :].sum()) if isinstance(rows, Sequences) else super().count(batch)

    def for_worker(self, rank: Rank) -> Algorithm:
        """With its own stretch of the ladder of epsilons: environment i of all N has ``epsilon`` to the power
        ``1 + epsilon_alpha (i + 1/2) / N``; the paper's section 4 has i / (N - 1), which is nothing for one alone.
        """
        first = 1 + self.epsilon_alpha * rank.number / rank.total
        return replace(self, epsilon=self.epsilon**first, epsilon_alpha=self.epsilon_alpha / rank.total / first)

    def sampler(self, distribution: ActionRule) -> Sampler:
        """Epsilon-greedy, each environment with its own epsilon."""
        return EpsilonGreedy(distribution.num_parameters, self.epsilons)

    def epsilons(self, count: int) -> Tensor:
        """Of ``count`` environments [B], which take the whole ladder, or a worker's stretch after ``for_worker``."""
        places = (torch.arange(count) + 0.5) / count
        return torch.pow(self.epsilon, 1 + self.epsilon_alpha * places)

    def settle(self, weights: Tensor, num_parameters: int, updates: int) -> None:
        """Copy the network every ``target_period`` updates."""
        if updates % self.target_period == 0:
            followed, target = parts(weights, num_parameters)
            target.copy_(followed)

    def overlap(self) -> int:
        """See ``Algorithm.overlap``."""
        return self.burn_in

    def recurrent_settings(self) -> dict[str, int]:
        """See ``Algorithm.recurrent_settings``."""
        return {"burn_in": self.burn_in} if self.burn_in else {}

    def lag(self) -> float:
        """See ``Algorithm.lag``."""
        return float(self.target_period) if type(self).settle is ApexDQN.settle else super().lag()

    def validate(self) -> None:
        """See ``Algorithm.validate``."""
        super().validate()
        demand(self.n_step >= 1, "n_step", "at least 1", self.n_step)
        demand(0 <= self.burn_in <= self.t_max, "burn_in", f"0 to t_max ({self.t_max})", self.burn_in)
        demand(self.huber >= 0, "huber", "0 or more", self.huber)
        demand(self.target_period >= 1, "target_period", "at least 1", self.target_period)
        demand(0 <= self.epsilon <= 1, "epsilon", "0 to 1", self.epsilon)
        demand(self.epsilon_alpha >= 0, "epsilon_alpha", "0 or more", self.epsilon_alpha)

    def _errors(self, network: ActionValuePolicy, batch: Transitions) -> tuple[Tensor, Tensor]:
        """By how much the values of what was done are off [N], without a gradient, and those values [N]."""
        with torch.no_grad():
            next_values = network.target(batch.next_observations)
            choosing = network.policy(batch.next_observations) if self.double else next_values
            targets = double_q_targets(batch.returns, batch.discounts, choosing, next_values, rescaled=self.rescaled)
        chosen = network.policy(batch.observations).gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
        return chosen.detach() - targets, chosen

    def _sequence_loss(self, network: nn.Module, batch: Trajectory, weights: Tensor) -> Loss:
        errors, chosen = self._sequence_errors(network, batch)
        with torch.no_grad():
            counts = batch.valid[self.burn_in :]
            shares = weights * counts / counts.sum().clamp_min(1)  # [T, B]
            value_loss = (shares * errors).flatten().dot(errors.flatten())
            slopes = shares * (errors.clamp(-self.huber, self.huber) if self.huber else errors)  # as above
            q_mean = chosen[counts].mean() if bool(counts.any()) else value_loss.new_zeros(())
        metrics = {"value_loss": value_loss, "q_mean": q_mean}
        return Loss((chosen * slopes).sum(), metrics, sequence_priorities(errors, counts))

    def _trajectory(self, rows: Sequences) -> Trajectory:
        return trajectory_of(rows)._replace(burn_in=self.burn_in)

    def _sequence_errors(self, network: nn.Module, batch: Trajectory) -> tuple[Tensor, Tensor]:
        return sequence_errors(
            cast(RecurrentActionValues, network),
            batch,
            discount=self.discount,
            n=self.n_step,
            double=self.double,
            rescaled=self.rescaled,
        )
