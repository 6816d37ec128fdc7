"""The settings that limit poisoned uploads."""

from dataclasses import dataclass

from marl.averaging.robust import RULES
from marl.exchanges.part import SettingsPart, demand


@dataclass(frozen=True)
class MergingSettings(SettingsPart):
    """Which part of an upload is merged."""

    aggregate: str = "mean"  # or "median", "trimmed", "krum", "multikrum", "clip", "capped": against poisoned uploads
    clip: float = 10.0  # longest change, in units of the usual length; longer ones are cut; inf: never

    def validate(self) -> None:
        """See ``SettingsPart``."""
        super().validate()
        rules = ("mean", *RULES)
        demand(self.aggregate in rules, "exchange.aggregate", f"one of {', '.join(rules)}", self.aggregate)
        demand(self.clip >= 1, "exchange.clip", "at least 1", self.clip)

    def demand_mean(self, why: str) -> None:
        """Refuse an ``aggregate`` other than "mean", for an exchange that does not average uploads.

        Raises:
            ConfigError: ``aggregate`` is not "mean".
        """
        expected = f"'mean' with exchange.name = {self.name!r}, where {why}"
        demand(self.aggregate == "mean", "exchange.aggregate", expected, self.aggregate)
