"""What a run says about deciding at the parent."""

from dataclasses import dataclass

from marl.exchanges.part import SettingsPart

PER_MESSAGE = 64  # requests at most


@dataclass(frozen=True)
class ObservationsSettings(SettingsPart):
    """How many observations one forward pass decides for."""

    inference_batch: int = 256  # observations: a batch of this many environments waits for no more
    inference_wait_us: float = 300.0  # observations: microseconds that the first of them waits for others
