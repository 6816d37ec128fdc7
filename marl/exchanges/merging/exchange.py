"""The base class of exchanges whose parent merges weights: makes both sides, and checks deterministic runs."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from marl.data.layout import Tree
from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.exchanges.base import ChildFacts, Exchange, ParentFacts, Worker
from marl.exchanges.merging.rest import WorkerRest, rest_fields
from marl.exchanges.part import demand
from marl.exchanges.run import RunSettings, most_updates
from marl.exchanges.triggers import parse_trigger
from marl.training.flat import num_parameters
from marl.training.optimizers import moments_of
from marl.wire.codec import CODECS

if TYPE_CHECKING:  # a worker needs neither
    from marl.exchanges.merging.moments import MergedMoments
    from marl.exchanges.merging.parent import MergingParent
    from marl.exchanges.weights.child import WeightsChild


@dataclass(frozen=True)
class Merging(Exchange):
    """A subclass names the classes of its two sides."""

    together: ClassVar[bool] = True  # the parent merges uploads in rounds, and answers all of a round at once

    @abstractmethod
    def child_class(self) -> "type[WeightsChild]":
        """The class of a child's side."""

    @abstractmethod
    def parent_class(self) -> "type[MergingParent]":
        """The class of the parent's side."""

    def codecs(self) -> tuple[str, ...]:
        """See ``Exchange``."""
        return CODECS if self.codec == "auto" else (self.codec,)

    def rules(self, run: RunSettings) -> None:
        """See ``Exchange``."""
        if parse_trigger(self.every).unit == "update" and math.isinf(most_updates(run)):
            raise ConfigError(
                f"exchange.every = {self.every!r} needs to know how many minibatches {run.algorithm.name} makes of a "
                "trajectory: give it the method batches_per_trajectory, or use steps"
            )

    def demand_same_bits(self) -> None:
        """See ``Exchange``."""
        self.demand_steps()
        super().demand_same_bits()

    def demand_steps(self) -> None:
        """Refuse an ``every`` that is not in steps or updates: uploads would be due at other steps in each run.

        Raises:
            ConfigError: ``every`` is no number of steps or updates.
        """
        if parse_trigger(self.every).unit not in ("step", "update"):
            raise ConfigError(
                "deterministic = true needs exchange.every in steps, such as '20000 steps', or updates, "
                f"got {self.every!r}: seconds and episodes end at another step each time"
            )

    def demand_rounds(self) -> None:
        """See ``Exchange``. A child that has a quarter of a core does a quarter of its work in a second."""
        expected = (
            "steps, episodes or updates, such as '20000 steps', with clock.virtual = true, as seconds are real ones"
        )
        demand(parse_trigger(self.every).unit != "second", "exchange.every", expected, self.every)

    def memory(self, run: RunSettings, spaces: Spaces, network: nn.Module, workers: int) -> dict[str, Tree]:
        """See ``Exchange``. The contact uses these fields to bring workers to rest."""
        return rest_fields(workers)

    def work(self, worker: Worker) -> None:
        """See ``Exchange``. In deterministic mode a worker rests by itself when it has made the steps of a round. So it
        does with ``barrier`` after the updates of a round: many may be made before the contact sees that it is due.
        """
        every = parse_trigger(self.every)
        in_updates = every.unit == "update"
        by_itself = worker.run.deterministic or (self.barrier and in_updates)
        rest = WorkerRest(worker.block, worker.number, every if by_itself else None)
        worker.learn(rest=rest, updates=math.ceil(most_updates(worker.run)) if in_updates else 0)

    def payload_bytes(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> int:
        """See ``Exchange``."""
        return 4 * len(moments_of(run.optimizer, self.moments)) * num_parameters(network)

    def child(self, facts: ChildFacts) -> "WeightsChild":
        """See ``Exchange``."""
        return self.child_class()(
            facts.block,
            self,
            name=facts.name,
            normalizes=facts.normalizes,
            deterministic=facts.deterministic,
            restarts=facts.restarts,
            note=facts.note,
            moments=moments_of(facts.run.optimizer, self.moments),
        )

    def parent(self, facts: ParentFacts) -> "MergingParent":
        """See ``Exchange``."""
        size = facts.weights.numel()
        demand(self.parts <= size, "exchange.parts", f"at most {size}, the number of weights", self.parts)
        side = self.parent_class()(
            facts.weights,
            self,
            name=facts.name,
            observation_size=facts.observation_size,
            statistics=facts.statistics,
            sample=facts.sample,
            reach=facts.reach,
            seen_beside=facts.seen_beside,
            moments=self.merged_moments(facts.run, facts.num_parameters),
            children=facts.children if facts.run.deterministic else None,
            term=facts.term,
            version=facts.version,
            steps=facts.steps,
            hear=facts.hear,
            note=facts.note,
        )
        side.timer = facts.timer
        if facts.timer is not None:
            clock = facts.timer.clock
            clock.barrier, clock.together = self.barrier or facts.run.deterministic, self.together
        return side

    def merged_moments(self, run: RunSettings, num_parameters: int) -> "MergedMoments | None":
        """What averages the moments of the children's optimizers; None: they are not averaged."""
        from marl.exchanges.merging.moments import MergedMoments

        moments, longest = moments_of(run.optimizer, self.moments), run.algorithm.max_gradient_norm
        if not moments:
            return None
        return MergedMoments(
            moments, num_parameters, aggregate=self.aggregate, clip=self.clip, longest_gradient=longest
        )
