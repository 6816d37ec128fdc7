"""What a run says about sharing gradients."""

from dataclasses import dataclass

from marl.exchanges.part import SettingsPart, demand

EXACT, DELAYED, ASYNCHRONOUS = FORMS = "exact", "delayed", "asynchronous"


@dataclass(frozen=True)
class GradientsSettings(SettingsPart):
    """Which weights a gradient is computed with, and which it moves."""

    # gradients: "exact": of the newest weights; "delayed": of the weights one step earlier, hides the link;
    # "asynchronous": each child's moves the parent's weights as it comes, and nobody waits
    form: str = EXACT

    def validate(self) -> None:
        """See ``SettingsPart``."""
        super().validate()
        demand(self.form in FORMS, "exchange.form", f"one of {', '.join(FORMS)}", self.form)
