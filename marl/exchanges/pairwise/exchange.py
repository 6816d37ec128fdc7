"""The pairwise exchange: children upload weights, the parent mixes each into its own as it comes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from marl.errors import ConfigError
from marl.exchanges.merging.exchange import Merging
from marl.exchanges.part import demand
from marl.exchanges.run import RunSettings

if TYPE_CHECKING:
    from marl.exchanges.pairwise.child import PairwiseChild
    from marl.exchanges.pairwise.parent import PairwiseParent

CODECS = ("float32", "bfloat16", "float16")  # the other codecs are for deltas, but here whole weights are sent


@dataclass(frozen=True)
class Pairwise(Merging):
    """No rounds: nobody waits for anybody."""

    together: ClassVar[bool] = False
    name: str = "pairwise"

    def rules(self, run: RunSettings) -> None:
        """See ``Exchange``."""
        super().rules(run)
        self.demand_mean("each upload moves the weights by itself")
        demand(not self.barrier, "exchange.barrier", f"false with exchange.name = {self.name!r}", self.barrier)
        demand(self.codec in CODECS, "exchange.codec", f"one of {', '.join(CODECS)} with {self.name}", self.codec)

    def demand_alone(self) -> None:
        """See ``Exchange``."""
        raise ConfigError(
            f"exchange.name = {self.name!r} mixes weights of children, and there are none: name some (-ip, --local)"
        )

    def child_class(self) -> "type[PairwiseChild]":
        """See ``Merging``."""
        from marl.exchanges.pairwise.child import PairwiseChild

        return PairwiseChild

    def parent_class(self) -> "type[PairwiseParent]":
        """See ``Merging``."""
        from marl.exchanges.pairwise.parent import PairwiseParent

        return PairwiseParent
