"""The gradients exchange: all workers of all children learn from one minibatch, each from its part."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from marl.algorithms.base import Algorithm
from marl.data.layout import Tree
from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.exchanges.base import ChildFacts, Exchange, ParentFacts, Worker
from marl.exchanges.gradients.memory import num_sums, round_fields, rounds_of
from marl.exchanges.gradients.rests import IntervalRest, interval_fields
from marl.exchanges.gradients.samples import ShardedSamples
from marl.exchanges.gradients.settings import ASYNCHRONOUS, DELAYED, EXACT
from marl.exchanges.gradients.shard import Shard, ShardedMinibatches
from marl.exchanges.part import demand
from marl.exchanges.run import RunSettings, most_updates, replay_ratio
from marl.training.flat import num_parameters
from marl.training.minibatches import MinibatchSource, ReplayedTransitions
from marl.wire.codec import CODECS

if TYPE_CHECKING:
    from marl.exchanges.gradients.child import GradientsChild
    from marl.exchanges.gradients.parent import GradientsParent


@dataclass(frozen=True)
class Gradients(Exchange):
    """Every worker learns from its part of each minibatch. The parent adds up their gradients, and the mean moves the
    weights of all alike. Without children on one machine, the workers share the weights in memory as in ``Weights``.
    """

    name: str = "gradients"

    def rules(self, run: RunSettings) -> None:
        """See ``Exchange``."""
        algorithm, named = run.algorithm, f"with exchange.name = {self.name!r}"
        if not algorithm.from_transitions:
            demand(not replay_ratio(run), "replay.ratio", f"0 {named} and {algorithm.name}", replay_ratio(run))
        if not algorithm.from_transitions and math.isinf(algorithm.batches_per_trajectory()):
            raise ConfigError(
                f"exchange.name = {self.name!r} needs to know how many minibatches {algorithm.name} makes of a "
                "trajectory: give it the method batches_per_trajectory, or use 'weights'"
            )
        if getattr(algorithm, "normalize_advantages", False) and not algorithm.sums_per_trajectory():
            raise ConfigError(
                f"algorithm.normalize_advantages: expected false {named} and {algorithm.name} (a3c, ppo and "
                "impala normalise by what all children have seen: see sums_per_trajectory), got true"
            )
        self.demand_mean("gradients are averaged")
        if self.form == ASYNCHRONOUS:
            expected = "a fixed one with exchange.form = 'asynchronous', which has no rounds to time"
            demand(self.codec != "auto", "exchange.codec", expected, self.codec)
            demand(self.max_staleness >= 0, "exchange.max_staleness", "0 or more", self.max_staleness)

    def demand_same_bits(self) -> None:
        """See ``Exchange``."""
        demand(self.codec != "auto", "exchange.codec", "a fixed one with deterministic = true", self.codec)
        demand(self.form == EXACT, "exchange.form", f"{EXACT!r} with deterministic = true", self.form)

    def codecs(self) -> tuple[str, ...]:
        """See ``Exchange``."""
        return CODECS if self.codec == "auto" else (self.codec,)

    def demand_rounds(self) -> None:
        """See ``Exchange``: every minibatch is a round, in the asynchronous form one of each child."""

    def memory(self, run: RunSettings, spaces: Spaces, network: nn.Module, workers: int) -> dict[str, Tree]:
        """See ``Exchange``. A round's parts."""
        rounds = round_fields(workers, num_parameters(network), num_sums(run))
        return {**rounds, **interval_fields(workers)}

    def payload_bytes(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> int:
        """See ``Exchange``. The state of the optimizer goes with the weights to a child that joins."""
        return 8 * num_parameters(network) + 4 + 8 * num_sums(run)

    def work(self, worker: Worker) -> None:
        """See ``Exchange``."""
        if worker.alone:
            worker.learn()
            return
        rounds = rounds_of(worker.run)
        shard = Shard(worker.block, worker.number, rounds, delayed=self.form == DELAYED, busy=worker.busy)

        def minibatches(algorithm: Algorithm, network: nn.Module, spaces: Spaces) -> MinibatchSource:
            own = worker.own_minibatches(algorithm, network, spaces)
            if isinstance(own, ReplayedTransitions):
                return ShardedSamples(algorithm, own, shard, int(most_updates(worker.run)))
            return ShardedMinibatches(algorithm, network, shard)

        rest = IntervalRest(worker.block, worker.number)
        worker.learn(minibatches=minibatches, weights=shard.over, rest=rest)

    def child(self, facts: ChildFacts) -> "GradientsChild":
        """See ``Exchange``."""
        if self.form == ASYNCHRONOUS:
            from marl.exchanges.gradients.asynchronous_child import AsynchronousChild

            return AsynchronousChild(facts)
        from marl.exchanges.gradients.child import GradientsChild

        return GradientsChild(facts)

    def parent(self, facts: ParentFacts) -> "GradientsParent":
        """See ``Exchange``."""
        if facts.timer is not None:
            # Of the first round; where they are delayed, later ones say themselves.
            facts.timer.clock.barrier, facts.timer.clock.together = True, self.form != ASYNCHRONOUS
        if self.form == ASYNCHRONOUS:
            from marl.exchanges.gradients.asynchronous_parent import AsynchronousParent

            return AsynchronousParent(facts, self)
        from marl.exchanges.gradients.parent import GradientsParent

        return GradientsParent(facts, self)
