"""What a run says about this machine."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeSettings:
    """How this machine is used."""

    workers: int = 0  # worker processes; 0: one a core that this process may use
    max_restarts: int = 10  # how often workers may die in a run before it ends; on a child, in a row
