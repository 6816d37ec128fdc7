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
    """The default exchange; without children, the workers of one machine share its weights."""

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
