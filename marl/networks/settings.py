"""What a run says about its network, and about how workers act on what it says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkSettings:
    """Which network, its size and shape."""

    name: str = ""  # your own package.module:Class; empty: the algorithm's own
    hidden: tuple[int, ...] = (64, 64)  # width of each hidden layer
    activation: str = "tanh"  # or "relu", "elu"
    shared_trunk: bool = False  # one body under policy and value: fewer numbers, but the two losses compete
    log_std: float = 0.0  # where the deviation of continuous actions starts (natural logarithm)


@dataclass(frozen=True)
class ExplorationSettings:
    """How workers draw their actions while they learn; evaluation knows nothing of it."""

    sampler: str = ""  # your own package.module:Class; empty: the algorithm's own
