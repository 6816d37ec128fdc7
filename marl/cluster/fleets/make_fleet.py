"""The fleet that a run's ``Cluster`` asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from marl.cluster.fleets.cluster_settings import Cluster
from marl.cluster.fleets.local import LocalFleet
from marl.cluster.fleets.network import NetworkFleet
from marl.cluster.fleets.own import OwnFleet

if TYPE_CHECKING:
    from marl.cluster.fleets.fleet import Fleet
    from marl.wire.endpoint import Endpoint


def make_fleet(cluster: Cluster) -> Fleet:
    """Make the fleet. Its children are started only when it is opened.

    Raises:
        ConfigError: something is no address, or is named twice.
    """
    network = NetworkFleet(cluster.children, cluster.port, cluster.trust)
    fleets: list[Fleet] = []
    if cluster.local:
        fleets.append(LocalFleet(cluster.local, trust=cluster.trust))
    if cluster.children:
        fleets.append(network)
    if cluster.ray is not None:
        from marl.cluster.fleets.ray.fleet import RayFleet

        fleets.append(RayFleet(cluster.ray))
    if cluster.endpoints:
        fleets.append(OwnFleet(cluster.endpoints))
    fleets += cluster.fleets
    return JointFleet(fleets) if len(fleets) > 1 else fleets[0] if fleets else network


class JointFleet:
    """Several fleets as one; their ranks follow one another."""

    def __init__(self, fleets: Sequence[Fleet]) -> None:
        self._fleets = fleets

    def open(self, workers: int, note: Callable[[str], None]) -> Sequence[Endpoint]:
        """See ``Fleet``."""
        return [endpoint for fleet in self._fleets for endpoint in fleet.open(workers, note)]

    def tend(self) -> Sequence[str]:
        """See ``Fleet``."""
        return [line for fleet in self._fleets for line in fleet.tend()]

    def close(self) -> None:
        """See ``Fleet``."""
        for fleet in self._fleets:
            fleet.close()
