"""The machines that could take part, and the links to them."""

from typing import NamedTuple


class Machine(NamedTuple):
    """One child, or this machine."""

    workers: int
    cores: float  # that these workers have for themselves
    slowness: float = 1.0  # seconds here take so many there
    round_trip: float = 0.0
    bytes_per_second: float = float("inf")
