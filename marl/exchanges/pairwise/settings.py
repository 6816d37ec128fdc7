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
        for name in ("alpha", "beta"):
            demand(0 < getattr(self, name) <= 1, f"exchange.{name}", "more than 0, at most 1", getattr(self, name))
