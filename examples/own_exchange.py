"""An exchange of one's own: who earns more moves the shared weights more.

Weights are mixed as they come, as with ``pairwise``. Each child adds what its last episodes earned to its uploads. One
that earns less than usual moves the parent's weights by ``exchange.least`` of ``exchange.alpha`` only.

    marl parent examples.own_environment:Catch-v0 --local 2 --exchange examples.own_exchange:Earning
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from marl.exchanges.pairwise.child import PairwiseChild
from marl.exchanges.pairwise.exchange import Pairwise
from marl.exchanges.pairwise.parent import PairwiseParent
from marl.exchanges.part import demand
from marl.wire.message import Kind, Message


class EarningChild(PairwiseChild):  # says what it earns
    def outgoing(self) -> Iterator[Message]:  # each is sent before the next is asked for
        for message in super().outgoing():
            earned = self.return_mean() if message.kind is Kind.UPLOAD else None  # None: no episode has ended yet
            yield message if earned is None else message._replace(info={**message.info, "earned": earned})


class EarningParent(PairwiseParent):  # believes it; what comes with it is checked as always
    _usual = 0.0  # what the children earn, with the last ones counting most

    def step_size(self, upload: Message) -> float:  # one call at a time
        alpha, earned = super().step_size(upload), upload.info.get("earned")
        if isinstance(earned, float):
            self._usual += 0.1 * (earned - self._usual)
            alpha *= 1.0 if earned >= self._usual else cast(Earning, self._settings).least
        return alpha


@dataclass(frozen=True)
class Earning(Pairwise):
    """What everything asks. Its numbers are settings like any other: ``--set exchange.least=0.5``."""

    least: float = 0.2  # of alpha, for those that earn less than usual (0 to 1)

    def validate(self) -> None:
        super().validate()
        demand(0 <= self.least <= 1, "exchange.least", "0 to 1", self.least)

    def child_class(self) -> type[PairwiseChild]:
        return EarningChild

    def parent_class(self) -> type[PairwiseParent]:
        return EarningParent


if __name__ == "__main__":
    from marl.api import Cluster, train

    settings = {"exchange.name": "examples.own_exchange:Earning", "exchange.every": "0.5 seconds"}
    print(train("examples.own_environment:Catch-v0", settings=settings, cluster=Cluster(local=2)).reason)
