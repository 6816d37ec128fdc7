"""The endpoint of a child whose address Ray decides: it may be nowhere yet, and come back somewhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable

from marl.errors import LinkClosed, LinkError
from marl.links.websocket.dialer import Dialer
from marl.links.websocket.link import WebSocketLink


class RayEndpoint:
    """See ``Endpoint``."""

    def __init__(self, address: str, dial: Callable[[str], Dialer]) -> None:
        """
        Args:
            address: what people call it.
            dial: makes the endpoint for a host and a port.
        """
        self.address, self._dial = address, dial
        self._changed = threading.Condition()  # guards _dialer and _closed
        self._dialer: Dialer | None = None  # None: the child is nowhere
        self._closed = False

    def move(self, place: str | None) -> None:
        """The child is at this host and port from now on; None: nowhere, for the time being."""
        with self._changed:
            if self._dialer is not None:
                self._dialer.close()
            self._dialer = None if place is None or self._closed else self._dial(place)
            self._changed.notify_all()

    def meet(self) -> WebSocketLink:
        """See ``Endpoint``."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._dialer is not None or self._closed)
                dialer = self._dialer
            if dialer is None:
                raise LinkClosed(f"{self.address}: this side dials no more")
            try:
                return dialer.meet()
            except LinkError:
                if dialer is self._dialer:
                    raise  # else the child was moved meanwhile, and is looked for there

    def check(self) -> None:
        """See ``Endpoint``: the key is of this run alone, so nobody was revoked."""

    def close(self) -> None:
        """See ``Endpoint``."""
        with self._changed:
            self._closed = True
            if self._dialer is not None:
                self._dialer.close()
                self._dialer = None
            self._changed.notify_all()
