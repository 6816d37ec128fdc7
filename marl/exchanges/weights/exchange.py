"""The weights exchange: children upload weights, the parent averages them in rounds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from marl.exchanges.merging.exchange import Merging
from marl.exchanges.part import demand
from marl.exchanges.run import RunSettings
from marl.training.optimizers import moments_of

if TYPE_CHECKING:
    from marl.exchanges.merging.parent import MergingParent
    from marl.exchanges.weights.child import WeightsChild


@dataclass(frozen=True)
class Weights(Merging):
    """The default exchange. In a run on one machine, nothing is uploaded: the workers share the weights in memory."""

    averages: ClassVar[bool] = True
    name: str = "weights"

    def rules(self, run: RunSettings) -> None:
        """See ``Exchange``."""
        super().rules(run)
        if self.moments != "own" and not moments_of(run.optimizer, self.moments):
            optimizer = f"'own' with optimizer.name = {run.optimizer.name!r}, which has no such moments"
            demand(False, "exchange.moments", optimizer, self.moments)

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
