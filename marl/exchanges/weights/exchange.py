"""The weights exchange: children upload weights, the parent averages them in rounds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from marl.exchanges.base import ParentFacts
from marl.exchanges.merging.exchange import Merging
from marl.exchanges.part import demand
from marl.exchanges.triggers import parse_trigger

if TYPE_CHECKING:
    from marl.exchanges.merging.parent import MergingParent
    from marl.exchanges.weights.child import WeightsChild


@dataclass(frozen=True)
class Weights(Merging):
    """The default exchange. In a run on one machine, nothing is uploaded: the workers share the weights in memory."""

    name: str = "weights"

    def demand_same_bits(self) -> None:
        """See ``Exchange``."""
        self.demand_steps()
        demand(self.codec != "auto", "exchange.codec", "a fixed one with deterministic = true", self.codec)

    def demand_rounds(self) -> None:
        """See ``Exchange``. A child that has a quarter of a core does a quarter of its work in a second."""
        expected = "steps or episodes, such as '20000 steps', with clock.virtual = true, as seconds are real ones"
        demand(parse_trigger(self.every).unit != "second", "exchange.every", expected, self.every)

    def parent(self, facts: ParentFacts) -> "MergingParent":
        """See ``Exchange``."""
        from marl.exchanges.weights.parent import WeightsParent

        side = super().parent(facts)
        assert isinstance(side, WeightsParent)
        side.timer = facts.timer
        if facts.timer is not None:
            facts.timer.clock.barrier = self.barrier or facts.run.deterministic
        return side

    def child_class(self) -> "type[WeightsChild]":
        """See ``Merging``."""
        from marl.exchanges.weights.child import WeightsChild

        return WeightsChild

    def parent_class(self) -> "type[MergingParent]":
        """See ``Merging``."""
        from marl.exchanges.weights.parent import WeightsParent

        return WeightsParent
