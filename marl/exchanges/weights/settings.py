"""What a run says about uploads of weights and about the round that averages them."""

from dataclasses import dataclass

from marl.exchanges.part import SettingsPart, demand, later
from marl.exchanges.triggers import parse_trigger
from marl.wire.codec import CODECS

MOST_PARTS = 1000
MOMENTS, OUTER = ("own", "second", "all"), ("sgd", "adam")
MOST_OUTER_RATE = 0.1  # with Adam, by which every weight moves in each round


@dataclass(frozen=True)
class WeightsSettings(SettingsPart):
    """When children upload, how weights travel, and how far a round moves the global ones."""

    every: str = (
        "5 seconds"  # when a child uploads: "5 seconds", "20000 steps", "1 episode" or "16 updates" (of each worker)
    )
    barrier: bool = False  # workers wait while weights travel: the textbook form; otherwise they train on
    codec: str = "float32"  # or "bfloat16", "float16", "int8", "int4": rounded, with error feedback; "auto": as needed
    parts: int = later(1)  # P: each round shares one of P parts of the weights, in turn: less at once, less in all
    outer_lr: float = 1.0  # step of the global weights towards the mean; 1 with momentum 0 is plain averaging
    outer_momentum: float = 0.0  # of the global weights' steps (Nesterov); DiLoCo: outer_lr = .7, outer_momentum = .9
    outer_optimizer: str = later("sgd")  # or "adam": of the global weights' steps, at the parent
    outer_beta1: float = later(0.9)  # outer Adam: decay of the mean step
    outer_beta2: float = later(0.99)  # outer Adam: decay of the mean squared step
    outer_epsilon: float = later(1e-3)  # outer Adam: steps much shorter than this are not made longer
    moments: str = later("own")  # or "second", "all": which moments of the optimizers are averaged like the weights

    def validate(self) -> None:
        """See ``SettingsPart``."""
        super().validate()
        parse_trigger(self.every)
        codecs = (*CODECS, "auto")
        demand(self.codec in codecs, "exchange.codec", f"one of {', '.join(codecs)}", self.codec)
        demand(1 <= self.parts <= MOST_PARTS, "exchange.parts", f"1 to {MOST_PARTS}", self.parts)
        demand(self.outer_lr > 0, "exchange.outer_lr", "more than 0", self.outer_lr)
        demand(0 <= self.outer_momentum < 1, "exchange.outer_momentum", "0 to below 1", self.outer_momentum)
        demand(self.moments in MOMENTS, "exchange.moments", f"one of {', '.join(MOMENTS)}", self.moments)
        whole = "1 with exchange.moments, which travel as a whole"
        demand(self.moments == "own" or self.parts == 1, "exchange.parts", whole, self.parts)
        outer = self.outer_optimizer
        demand(outer in OUTER, "exchange.outer_optimizer", f"one of {', '.join(OUTER)}", outer)
        for name in ("outer_beta1", "outer_beta2"):
            demand(0 <= getattr(self, name) < 1, f"exchange.{name}", "0 to below 1", getattr(self, name))
        demand(self.outer_epsilon > 0, "exchange.outer_epsilon", "more than 0", self.outer_epsilon)
        if outer == "adam":
            most = f"at most {MOST_OUTER_RATE} with exchange.outer_optimizer = 'adam', such as 0.001"
            demand(self.outer_lr <= MOST_OUTER_RATE, "exchange.outer_lr", most, self.outer_lr)
            none = "0 with exchange.outer_optimizer = 'adam', whose momentum is exchange.outer_beta1"
            demand(not self.outer_momentum, "exchange.outer_momentum", none, self.outer_momentum)

    def demand_own(self) -> None:
        """Refuse what only rounds of weights have: parts, moments that are averaged, an outer optimizer other than SGD.

        Raises:
            ConfigError: one is set.
        """
        for name, default in (("parts", 1), ("moments", "own"), ("outer_optimizer", "sgd")):
            value = getattr(self, name)
            expected = f"{default!r} with exchange.name = {self.name!r} (others go with 'weights' alone)"
            demand(value == default, f"exchange.{name}", expected, value)
