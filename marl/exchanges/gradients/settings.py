"""What a run says about sharing gradients."""

from dataclasses import dataclass

from marl.exchanges.part import SettingsPart, demand

EXACT, DELAYED = FORMS = "exact", "delayed"


@dataclass(frozen=True)
class GradientsSettings(SettingsPart):
    """Which weights a gradient is computed with."""

    form: str = (
        EXACT  # gradients: each is of the newest weights; "delayed": of those one step earlier, to hide the link
    )

    def validate(self) -> None:
        """See ``SettingsPart``."""
        super().validate()
        demand(self.form in FORMS, "exchange.form", f"one of {', '.join(FORMS)}", self.form)
