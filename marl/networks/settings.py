"""What a run says about its network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkSettings:
    """Size and shape of the network."""

    hidden: tuple[int, ...] = (64, 64)  # width of each hidden layer
    activation: str = "tanh"  # or "relu", "elu"
    shared_trunk: bool = False  # one body under policy and value: fewer numbers, but the two losses compete
    log_std: float = 0.0  # where the deviation of continuous actions starts (natural logarithm)
