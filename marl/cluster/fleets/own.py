"""Children that are met in a way of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marl.wire.endpoint import Endpoint


class OwnFleet:
    """See ``Fleet``."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints

    def open(self, workers: int, note: Callable[[str], None]) -> Sequence[Endpoint]:
        """See ``Fleet``."""
        return self._endpoints

    def tend(self) -> Sequence[str]:
        """See ``Fleet``: of children that end the links tell."""
        return ()

    def close(self) -> None:
        """See ``Fleet``."""
        for endpoint in self._endpoints:
            endpoint.close()
