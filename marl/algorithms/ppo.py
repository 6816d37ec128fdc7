"""Proximal policy optimisation.

Schulman et al., "Proximal Policy Optimization Algorithms" (2017). Each trajectory is learned from in several epochs of
shuffled minibatches. Under Hogwild every worker does so with its own trajectories, on weights that all of them move: to
each, the others' steps look like a few epochs more, which the clipped ratio bounds all the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from marl.algorithms.base import SCHEDULE_NAMES, SCHEDULES, Algorithm, Loss, Moment, demand, scheduled
from marl.algorithms.last_values import following_values
from marl.algorithms.ppo_loss import ppo_loss
from marl.algorithms.ppo_minibatch import Minibatch, in_one_row, in_sequences
from marl.data.layout import is_empty, mapped
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory, resets_of
from marl.networks.build_network import actor_critic
from marl.networks.contract import Policy
from marl.networks.sampling import Rank
from marl.networks.settings import NetworkSettings
from marl.targets.gae import gae
from marl.targets.td_lambda import td_lambda
from marl.targets.upgo import upgo
from marl.targets.vtrace import vtrace

TARGETS = ("auto", "gae", "td_lambda", "vtrace")


@dataclass(frozen=True)
class PPO(Algorithm):
    """The numbers of PPO."""

    takes_state: ClassVar[bool] = True

    name: str = "ppo"
    t_max: int = 64  # steps of a trajectory (16 to 2048 divided by the environments of a worker)
    epochs: int = 4  # how often each trajectory is learned from (3 to 20)
    num_minibatches: int = 4  # parts into which an epoch is cut
    # Steps that a gradient goes back at most through what a network remembers: fewer take less time, but do not learn
    # to remember for longer (8 to 128); 0: all of the trajectory.
    sequence: int = 0
    clip: float = 0.2  # how far the ratio of new to old policy may lead (.1 to .3)
    clip_schedule: str = "constant"  # or "linear", "cosine", "auto": to 0, over the length of algorithm.schedule
    gae_lambda: float = 0.95  # less: less variance, more bias (.9 to 1); of TD(lambda) and V-trace too
    # "auto" is "vtrace", which corrects what older weights have played, where they do; "gae" else. Or "td_lambda": the
    # value target of "gae" by its own recursion.
    target: str = "auto"
    upgo_cost: float = 0.0  # weight of self-imitation (UPGO) beside the advantage: learns from what went well (0 to 1)
    value_cost: float = 0.5  # weight of the value loss (.25 to 1)
    value_clip: float = 0.0  # how far a value may move from the old one; 0: as far as it likes
    entropy_cost: float = 0.0  # weight of the entropy bonus: more keeps exploring (0 to .02)
    entropy_schedule: str = "constant"  # or "linear", "cosine", "auto": to 0, over the length of algorithm.schedule
    entropy_spread: float = 1.0  # the last worker's entropy_cost, in those of the first
    normalize_advantages: bool = True  # to deviation 1 in each minibatch of more than one
    kl_stop: float = 0.0  # no further epoch once the policy has moved so far (.01 to .05); 0: all epochs

    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> nn.Module:
        """A policy and a value."""
        return actor_critic(spaces, settings, seed)

    def batches_per_trajectory(self) -> float:
        """See ``Algorithm.batches_per_trajectory``."""
        known = type(self).minibatches is PPO.minibatches
        return float(self.epochs * self.num_minibatches) if known else super().batches_per_trajectory()

    def batches_from(self, network: nn.Module, environments: int) -> float:
        """See ``Algorithm.batches_from``."""
        share = self._num_parts(self._sequences(network, environments)) / self.num_minibatches
        return share * self.batches_per_trajectory()

    def remark(self, network: nn.Module, environments: int) -> str | None:
        """See ``Algorithm.remark``: a minibatch of a network that remembers has at least one whole sequence."""
        number = self._num_parts(sequences := self._sequences(network, environments))
        if type(self).minibatches is not PPO.minibatches or number == self.num_minibatches:
            return None
        return (
            f"an epoch has {number} minibatches, not algorithm.num_minibatches = {self.num_minibatches}: they have "
            f"whole sequences, and {environments} environments play {sequences} of them: raise "
            "environment.per_worker, or let algorithm.sequence cut trajectories into shorter sequences"
        )

    def _sequences(self, network: nn.Module, environments: int) -> int:
        """Of a trajectory; of a network that remembers nothing as many as there are to be minibatches."""
        if is_empty(cast(Policy, network).initial_state(1)):
            return self.num_minibatches
        return environments * -(-self.t_max // (self.sequence or self.t_max))

    def _num_parts(self, count: int) -> int:
        """How many minibatches this number of transitions, or sequences, gives."""
        return -(-count // -(-count // self.num_minibatches))

    def minibatches(self, network: nn.Module, trajectory: Trajectory, moment: Moment) -> Iterator[Minibatch]:
        """``epochs`` times all transitions, shuffled and cut in ``num_minibatches``; of a network that remembers,
        sequences of them are.
        """
        critic = cast(Policy, network)
        minibatch = self._minibatches(critic, trajectory, moment)
        count = minibatch.size()
        if not count:
            return
        drawn = (self._parts(count, moment) for _ in range(self.epochs))  # each when it is asked for
        together = moment.together if self.normalize_advantages else None
        of_all: Tensor | None = None
        if together is not None and self.target != "vtrace":  # one sum for all epochs: each may take a round trip
            epochs = list(drawn)
            drawn, of_all = (each for each in epochs), self._moments(minibatch, epochs, together)
        for epoch in range(self.epochs):
            if epoch and self.kl_stop and self._moved(critic, minibatch, moment) > self.kl_stop:
                return
            if epoch and self.target == "vtrace":  # the ratios have moved
                minibatch = self._minibatches(critic, trajectory, moment)
            parts = next(drawn)
            moments = None if of_all is None else of_all[epoch]
            if together is not None and moments is None:
                moments = self._moments(minibatch, [parts], together)[0]
            for number, part in enumerate(parts):
                each = minibatch if self.num_minibatches == 1 else minibatch.pick(part)
                yield each if moments is None else each.standardized(moments[number])

    def _parts(self, count: int, moment: Moment) -> list[Tensor]:
        """The transitions of each minibatch of one epoch."""
        size = -(-count // self.num_minibatches)
        whole = self.num_minibatches == 1
        order = torch.arange(count) if whole else torch.randperm(count, generator=moment.generator)
        return [order[start : start + size] for start in range(0, count, size)]

    def _moments(
        self, minibatch: Minibatch, epochs: Sequence[list[Tensor]], together: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Moments [E, M, 4] of the advantages of each part of some epochs, among all that learn together."""
        moments = torch.zeros(len(epochs), self.num_minibatches, 4, dtype=torch.float64)
        for epoch, parts in enumerate(epochs):
            for number, part in enumerate(parts):
                moments[epoch, number] = minibatch.moments(part)
        return together(moments)

    def _moved(self, network: Policy, minibatch: Minibatch, moment: Moment) -> float:
        """The KL divergence over the transitions of all that learn together."""
        own = float(divergence(network, minibatch))
        if moment.together is None:
            return own
        count = self.count(minibatch)
        total, counts = moment.together(torch.tensor([own * count, count], dtype=torch.float64)).tolist()
        return float(total / max(counts, 1.0))

    def sums_per_trajectory(self) -> int:
        """See ``Algorithm.sums_per_trajectory``."""
        moments = self.epochs if self.target == "vtrace" else 1
        return moments * self.normalize_advantages + (self.epochs - 1) * (self.kl_stop > 0)

    def count(self, batch: Minibatch) -> float:
        """See ``Algorithm.count``."""
        return float(batch.actions.shape[0]) if batch.valid is None else float(batch.valid.sum())

    def loss(self, network: nn.Module, batch: Minibatch) -> Loss:
        """The clipped surrogate, the value's error and the entropy bonus."""
        return ppo_loss(
            cast(Policy, network),
            batch,
            value_cost=self.value_cost,
            value_clip=self.value_clip,
            entropy_cost=batch.entropy_cost,
            normalize_advantages=self.normalize_advantages and not batch.standard,
        )

    def off_policy(self) -> Algorithm:
        """With V-trace, which weighs what older weights have played, unless another target was asked for."""
        return replace(self, target="vtrace") if self.target == "auto" else self

    def nearly_on_policy(self) -> Algorithm:
        """As with its own trajectories: the loss has the ratio to the policy that acted. V-trace takes
        away more, and LunarLander-v3 then takes more steps (docs/averaging.md).
        """
        return replace(self, target="gae") if self.target == "auto" else self

    def recurrent_settings(self) -> dict[str, int]:
        """See ``Algorithm.recurrent_settings``."""
        return {"sequence": self.sequence} if self.sequence else {}

    def for_worker(self, rank: Rank) -> Algorithm:
        """With its own share of exploration."""
        return replace(self, entropy_cost=self.entropy_cost * self.entropy_spread ** rank.fraction())

    def validate(self) -> None:
        """See ``Algorithm.validate``."""
        super().validate()
        demand(self.entropy_spread > 0, "entropy_spread", "more than 0", self.entropy_spread)
        demand(self.epochs >= 1, "epochs", "at least 1", self.epochs)
        demand(self.num_minibatches >= 1, "num_minibatches", "at least 1", self.num_minibatches)
        demand(self.sequence >= 0, "sequence", "0 (whole trajectories) or more", self.sequence)
        demand(self.clip > 0, "clip", "more than 0", self.clip)
        demand(self.clip_schedule in SCHEDULES, "clip_schedule", SCHEDULE_NAMES, self.clip_schedule)
        demand(self.entropy_schedule in SCHEDULES, "entropy_schedule", SCHEDULE_NAMES, self.entropy_schedule)
        demand(0 <= self.gae_lambda <= 1, "gae_lambda", "0 to 1", self.gae_lambda)
        demand(self.target in TARGETS, "target", f"one of {', '.join(TARGETS)}", self.target)
        demand(self.value_clip >= 0, "value_clip", "0 or more", self.value_clip)
        demand(self.kl_stop >= 0, "kl_stop", "0 or more", self.kl_stop)

    @torch.no_grad()
    def _minibatches(self, network: Policy, batch: Trajectory, moment: Moment) -> Minibatch:
        """All transitions of a trajectory."""
        resets = resets_of(batch)
        acted = len(batch.rewards) if self.target == "vtrace" else 0
        parameters, values = network.unroll(batch.observations, batch.state, resets, acted)
        following = following_values(network, values, batch)
        values = values[:-1]
        steps = (batch.rewards, values, following, batch.terminated, batch.truncated)
        log_probs = network.distribution.log_prob(batch.behaviour, batch.actions)
        if self.target in ("auto", "gae"):
            advantages = gae(*steps, discount=self.discount, gae_lambda=self.gae_lambda)
            targets = advantages + values
        elif self.target == "td_lambda":
            targets = td_lambda(batch.rewards, *steps[2:], discount=self.discount, td_lambda=self.gae_lambda)
            advantages = targets - values
        else:
            ratios = network.distribution.log_prob(parameters, batch.actions) - log_probs
            corrected = vtrace(ratios, *steps, discount=self.discount, trace_lambda=self.gae_lambda)
            # The loss has a ratio of its own: the one of the first step must not be in the advantage as well.
            advantages, targets = corrected.advantages / corrected.rhos.clamp_min(1e-6), corrected.targets
        if self.upgo_cost:
            advantages = advantages + self.upgo_cost * (upgo(*steps, discount=self.discount) - values)
        now = (
            scheduled(self.clip_schedule, self.clip, 0.0, moment.progress),
            scheduled(self.entropy_schedule, self.entropy_cost, 0.0, moment.progress),
            False,
        )
        seen = mapped(lambda each: each[:-1], batch.observations)
        compared = (batch.actions, log_probs, values, advantages, targets)
        if resets is not None:
            whole = Minibatch._make([seen, *compared, *now, batch.state, resets[:-1], batch.valid])
            return in_sequences(network, whole, self.sequence or len(batch.rewards))
        seen = mapped(in_one_row, seen)
        flat = Minibatch._make([seen, *map(in_one_row, compared), *now, (), None, None])
        return flat if bool(batch.valid.all()) else flat.pick(batch.valid.flatten())


@torch.no_grad()
def divergence(network: Policy, batch: Minibatch) -> Tensor:
    """Mean KL divergence of the policy that acted from the present one, by the estimator ``(r - 1) - log r``, which
    is never negative (Schulman, "Approximating KL divergence", 2020).
    """
    parameters, batch = batch.outputs(network).parameters, batch.flat()
    change = network.distribution.log_prob(parameters, batch.actions) - batch.log_probs
    apart = change.exp() - 1.0 - change
    return apart.mean() if batch.valid is None else torch.dot(apart, batch.weights())
