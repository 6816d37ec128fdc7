"""How often faults are tried: a few times by default, as often as promised in `make faults`."""

import math
import os

SHARE = float(os.environ.get("MARL_FAULTS", "0"))  # of the promised counts


def times(promised: int, at_least: int = 1) -> int:
    """How often a fault is tried."""
    return max(at_least, math.ceil(SHARE * promised))
