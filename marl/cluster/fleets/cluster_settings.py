"""The children of a run, as the commands and the API receive them. This module imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from marl.cluster.fleets.ray.settings import RaySettings
from marl.trust.options import TrustOptions

if TYPE_CHECKING:
    from marl.cluster.fleets.fleet import Fleet
    from marl.wire.endpoint import Endpoint

PORT = 5050


@dataclass(frozen=True)
class Cluster:
    """The children of a run."""

    children: tuple[str, ...] = ()  # addresses, see ``parse_addresses``
    port: int = PORT  # of children whose address has none
    local: int = 0  # children that are started on this machine, for this run
    endpoints: tuple[Endpoint, ...] = ()  # of children that are reached in another way; closed when the run ends
    fleets: tuple[Fleet, ...] = ()  # the user's own fleets, which bring more children
    wait_s: float = 10.0  # for the first child
    trust: TrustOptions = field(default_factory=TrustOptions)
    ray: RaySettings | None = None  # children on the nodes of a Ray cluster, for this run
