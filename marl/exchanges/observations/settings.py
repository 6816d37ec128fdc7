"""What a run says about deciding at the parent."""

from dataclasses import dataclass

from marl.exchanges.part import SettingsPart

PER_MESSAGE = 64  # requests at most


@dataclass(frozen=True)
class ObservationsSettings(SettingsPart):
    """How many observations one forward pass decides for."""

    inference_batch: int = 256  # observations: so many environments are decided for without waiting for more
    inference_wait_us: float = 300.0  # observations: microseconds that the first of them waits for others
