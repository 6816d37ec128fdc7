"""What a run says about this machine, and about machines that it is timed for."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class NodeSettings:
    """How this machine is used."""

    workers: int = 0  # worker processes; 0: one a core that this process may use
    max_restarts: int = 10  # how often workers may die in a run before it ends; on a child, in a row


@dataclass(frozen=True)
class ClockSettings:
    """Virtual time: as if the parent and each child had a machine of its own, with a core for each process."""

    virtual: bool = False  # count virtual seconds beside those that pass
    link_delay_ms: float = 0.0  # of the virtual link of each child, one way
    link_mbit: float = 0.0  # a second, of each of these links; 0: as fast as can be

    def link(self) -> tuple[float, float]:
        """Of a virtual link: seconds one way, and bytes a second."""
        return 1e-3 * self.link_delay_ms, 1e6 / 8 * self.link_mbit if self.link_mbit else math.inf
