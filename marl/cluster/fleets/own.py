"""Children that are met through the user's own endpoints."""

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
        """See ``Fleet``. There are no lines: a broken link shows that a child has ended."""
        return ()

    def close(self) -> None:
        """See ``Fleet``."""
        for endpoint in self._endpoints:
            endpoint.close()
