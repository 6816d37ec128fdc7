"""The endpoint that dials: a parent's, for a child that listens at an address."""

import random
import threading
import time
from collections.abc import Callable

from marl.errors import LinkClosed, TrustError
from marl.links.websocket.client import connect
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.trust.identity import Identity
from marl.trust.nodes import NodeBook

SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two tries
LOOK_EVERY = 0.05  # seconds between two looks whether the last link has ended


class Dialer:
    """See ``Endpoint``."""

    def __init__(
        self,
        io: IOLoop,
        host: str,
        port: int,
        identity: Callable[[], Identity | None],
        *,
        node: str | None = None,
        book: NodeBook | None = None,
    ) -> None:
        """
        Args:
            identity: the newest of this node, asked at each try; None speaks without TLS, to this machine only.
            node: id of the node that must answer; None: whichever does.
            book: which nodes were revoked; None: nobody was.
        """
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._io, self._host, self._port, self._identity = io, host, port, identity
        self._node, self._book = node, book
        self._link: WebSocketLink | None = None  # the newest
        self._closed = threading.Event()
        self._pause = SHORTEST_PAUSE
        self._tried_at: float | None = None

    def meet(self) -> WebSocketLink:
        """See ``Endpoint``: one try to connect, after a pause that doubles with each in a row."""
        while self._link is not None and not self._link.has_ended:
            if self._closed.wait(LOOK_EVERY):
                break
        if self._tried_at is not None:
            if time.monotonic() - self._tried_at > LONGEST_PAUSE:
                self._pause = SHORTEST_PAUSE  # it was there: it may be back soon
            self._closed.wait(self._pause * random.uniform(0.5, 1.0))
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if self._closed.is_set():
            raise LinkClosed(f"{self.address}: this side dials no more")
        self._tried_at = time.monotonic()
        link = connect(self._io, self._host, self._port, self._identity())
        try:
            self._admit(link)
        except BaseException:
            link.close()
            raise
        self._link = link
        return link

    def check(self) -> None:
        """See ``Endpoint``: it may have been revoked."""
        link = self._link
        if self._book is not None and link is not None and link.node is not None:
            self._book.check(link.node)

    def close(self) -> None:
        """See ``Endpoint``."""
        self._closed.set()

    def _admit(self, link: WebSocketLink) -> None:
        node = link.peer or self.address
        if self._node not in (None, node):
            raise TrustError(
                f"{self.address}: expected the node {self._node}, got {node}: check the address, or leave the name out"
            )
        if self._book is not None and link.node is not None:
            self._book.check(link.node)
            self._book.seen(link.node)
