"""What a run says about choosing actions at the parent."""

from dataclasses import dataclass

from marl.exchanges.part import SettingsPart

PER_MESSAGE = 64  # requests at most


@dataclass(frozen=True)
class ObservationsSettings(SettingsPart):
    """For how many observations one forward pass chooses actions."""

    inference_batch: int = 256  # observations: a forward pass starts once this many environments wait
    inference_wait_us: float = 300.0  # observations: or once the first has waited this many microseconds
