"""The weights exchange: children upload weights, the parent averages them in rounds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from marl.exchanges.merging.exchange import Merging
from marl.exchanges.part import demand

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

    def child_class(self) -> "type[WeightsChild]":
        """See ``Merging``."""
        from marl.exchanges.weights.child import WeightsChild

        return WeightsChild

    def parent_class(self) -> "type[MergingParent]":
        """See ``Merging``."""
        from marl.exchanges.weights.parent import WeightsParent

        return WeightsParent
