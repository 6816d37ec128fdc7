"""The gradients exchange: all workers of all children learn from one minibatch, each from its part."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from marl.data.layout import Tree
from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.exchanges.base import ChildFacts, Exchange, ParentFacts, Worker
from marl.exchanges.gradients.memory import num_sums, round_fields, rounds_of
from marl.exchanges.gradients.settings import DELAYED
from marl.exchanges.gradients.shard import Shard, ShardedMinibatches
from marl.exchanges.run import RunSettings, replay_ratio
from marl.training.flat import num_parameters
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
        if replay_ratio(run) or algorithm.from_transitions:
            raise ConfigError(
                f"exchange.name = {self.name!r} needs an algorithm that learns from each trajectory once, such as ppo; "
                f"{algorithm.name} learns from a replay: use 'weights' or 'experience'"
            )
        if math.isinf(algorithm.batches_per_trajectory()):
            raise ConfigError(
                f"exchange.name = {self.name!r} needs to know how many minibatches {algorithm.name} makes of a "
                "trajectory: give it the method batches_per_trajectory, or use 'weights'"
            )
        if getattr(algorithm, "normalize_advantages", False) and not algorithm.sums_per_trajectory():
            raise ConfigError(
                f"algorithm.normalize_advantages: expected false {named} and {algorithm.name} (ppo normalises by what "
                "all children have seen), got true"
            )
        self.demand_mean("gradients are averaged")

    def codecs(self) -> tuple[str, ...]:
        """See ``Exchange``."""
        return CODECS if self.codec == "auto" else (self.codec,)

    def memory(self, run: RunSettings, spaces: Spaces, network: nn.Module, workers: int) -> dict[str, Tree]:
        """See ``Exchange``. A round's parts."""
        return round_fields(workers, num_parameters(network), num_sums(run.algorithm))

    def payload_bytes(self, run: RunSettings, spaces: Spaces, network: nn.Module) -> int:
        """See ``Exchange``. The state of the optimizer goes with the weights to a child that joins."""
        return 8 * num_parameters(network) + 4 + 8 * num_sums(run.algorithm)

    def work(self, worker: Worker) -> None:
        """See ``Exchange``."""
        if worker.alone:
            worker.learn()
            return
        shard = Shard(worker.block, worker.number, rounds_of(worker.run.algorithm), delayed=self.form == DELAYED)
        worker.learn(
            minibatches=lambda algorithm, network, unused_spaces: ShardedMinibatches(algorithm, network, shard),
            weights=shard.over,
        )

    def child(self, facts: ChildFacts) -> "GradientsChild":
        """See ``Exchange``."""
        from marl.exchanges.gradients.child import GradientsChild

        return GradientsChild(facts)

    def parent(self, facts: ParentFacts) -> "GradientsParent":
        """See ``Exchange``."""
        from marl.exchanges.gradients.parent import GradientsParent

        return GradientsParent(facts, self)
