"""What a run says about uploads of weights and about the round that averages them."""

from dataclasses import dataclass

from marl.exchanges.part import SettingsPart, demand, later
from marl.exchanges.triggers import parse_trigger
from marl.wire.codec import CODECS

MOST_PARTS = 1000


@dataclass(frozen=True)
class WeightsSettings(SettingsPart):
    """When children upload, how weights travel, and how far a round moves the global ones."""

    every: str = (
        "5 seconds"  # when a child uploads: "5 seconds", "20000 steps", "1 episode" or "16 updates" (of each worker)
    )
    barrier: bool = False  # workers wait while weights travel: the textbook form; otherwise they train on
    codec: str = "float32"  # or "bfloat16", "float16", "int8", "int4": rounded, with error feedback; "auto": as needed
    parts: int = later(1)  # each round shares one of so many parts of the weights, in turn: less at once, less in all
    outer_lr: float = 1.0  # step of the global weights towards the mean; 1 with momentum 0 is plain averaging
    outer_momentum: float = 0.0  # of the global weights' steps (Nesterov); DiLoCo: outer_lr = .7, outer_momentum = .9

    def validate(self) -> None:
        """See ``SettingsPart``."""
        super().validate()
        parse_trigger(self.every)
        codecs = (*CODECS, "auto")
        demand(self.codec in codecs, "exchange.codec", f"one of {', '.join(codecs)}", self.codec)
        demand(1 <= self.parts <= MOST_PARTS, "exchange.parts", f"1 to {MOST_PARTS}", self.parts)
        demand(self.outer_lr > 0, "exchange.outer_lr", "more than 0", self.outer_lr)
        demand(0 <= self.outer_momentum < 1, "exchange.outer_momentum", "0 to below 1", self.outer_momentum)
