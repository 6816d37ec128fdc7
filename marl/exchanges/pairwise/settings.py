"""What a run says about mixing."""

from dataclasses import dataclass

from marl.exchanges.part import SettingsPart, demand


@dataclass(frozen=True)
class PairwiseSettings(SettingsPart):
    """How far the weights of one side move towards those of the other."""

    alpha: float = 0.5  # pairwise: how far an upload moves the parent's weights
    beta: float = 0.5  # pairwise: how far a broadcast moves the child's

    def validate(self) -> None:
        """See ``SettingsPart``."""
        super().validate()
        demand(0 < self.alpha <= 1, "exchange.alpha", "more than 0, at most 1", self.alpha)
        demand(0 <= self.beta <= 1, "exchange.beta", "0 (children keep their own weights) to 1", self.beta)
