"""The exchange that is still to be chosen."""

from dataclasses import dataclass
from typing import ClassVar

from marl.exchanges.names import AUTO, EXCHANGES
from marl.exchanges.part import demand
from marl.exchanges.run import RunSettings
from marl.exchanges.weights.exchange import Weights


@dataclass(frozen=True)
class Auto(Weights):
    """Holds the place of the exchange that a run chooses once it has measured its children; see
    ``marl/cluster/planning``. Until then all goes by the rules of ``weights``, which every algorithm can use.
    """

    is_open: ClassVar[bool] = True
    averages: ClassVar[bool] = False  # perhaps: what only a mean of weights has is not to be set yet

    name: str = AUTO

    def rules(self, run: RunSettings) -> None:
        """See ``Exchange``. A choice that follows from measured times may be another one each time."""
        super().rules(run)
        demand(not run.deterministic, "exchange.name", f"one of {', '.join(EXCHANGES)} with deterministic = true", AUTO)
