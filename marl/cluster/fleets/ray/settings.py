"""What a run says about the Ray cluster that brings its children. This module imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from marl.errors import ConfigError

AUTO = "auto"
SPREADS = ("SPREAD", "STRICT_SPREAD", "PACK", "STRICT_PACK")


@dataclass(frozen=True)
class RaySettings:
    """Which cluster, and what of it.

    Raises:
        ConfigError: a value that cannot be.
    """

    address: str = AUTO  # "auto": $RAY_ADDRESS, or the cluster that runs on this machine
    nodes: tuple[int, int] = (0, 0)  # children at least, which the run waits for, and at most; 0: one a node with room
    cores: int = 0  # of each child; 0: as many as are free on each of the nodes
    gpus: float = 0.0  # likewise
    spread: str = SPREADS[0]  # Ray's placement strategy
    resources: dict[str, float] = field(default_factory=dict)  # more that each child needs, as Ray calls it
    labels: dict[str, str] = field(default_factory=dict)  # that its node must have
    environment: dict[str, Any] = field(default_factory=dict)  # Ray's ``runtime_env``
    wait_s: float = 60.0  # for the least number of children

    def __post_init__(self) -> None:
        least, most = self.nodes
        if not 0 <= least <= most:
            raise ConfigError(f"--nodes: expected a number like 4, or a range like 2-16, got {least}-{most}")
        if self.cores < 0:
            raise ConfigError(f"--cores-per-node: expected at least 1, got {self.cores}")
        if not 0.0 <= self.gpus < float("inf"):
            raise ConfigError(f"--gpus: expected 0 or more, got {self.gpus:g}")
        if self.spread not in SPREADS:
            raise ConfigError(f"--ray-spread: expected one of {', '.join(SPREADS)}, got {self.spread!r}")
        if own := [name for name in self.resources if name in ("CPU", "GPU", "memory", "object_store_memory")]:
            raise ConfigError(
                f"--ray-resource: expected a name of your own, got {own[0]}: see --cores-per-node and --gpus"
            )
        if bad := [name for name, amount in self.resources.items() if not 0.0 < amount < float("inf")]:
            raise ConfigError(f"--ray-resource: expected an amount above 0, got {bad[0]}={self.resources[bad[0]]:g}")


def parse_nodes(text: str) -> tuple[int, int]:
    """``4``, or from 2 to 16: ``2-16``.

    Raises:
        ConfigError: it is neither.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?", text, re.ASCII)
    least, most = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if least > most:
        raise ConfigError(f"--nodes: expected a number like 4, or a range like 2-16, got {text!r}")
    return least, most
