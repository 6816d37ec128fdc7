"""The endpoint that listens: a child's, for whichever parent dials its address."""

import queue
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from marl.errors import LinkClosed
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.server import Server
from marl.trust.identity import Identity


class Listener:
    """See ``Endpoint``. Strangers are kept out by ``Server``; how many links may wait here is bounded by its limits.

    with Listener(io, "", 5050, identity, say) as listener:
        link = listener.meet()
    """

    def __init__(
        self, io: IOLoop, host: str, port: int, identity: Identity | None, say: Callable[[str], None], **options: Any
    ) -> None:
        """Listen and accept, see ``Server``.

        Args:
            say: gets a line for each stranger who was not let in; in the loop's thread, so it must return at once.
            options: of ``Server``.

        Raises:
            ConfigError: the address is not this machine's, in use, or not permitted.
            CertificateError: the identity cannot be used.
        """
        self._links: queue.SimpleQueue[WebSocketLink | None] = queue.SimpleQueue()  # None: closed
        self._server = Server(io, host, port, identity, self._links.put, say, **options)
        self.port = self._server.port
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def meet(self) -> WebSocketLink:
        """See ``Endpoint``."""
        link = self._links.get()
        if link is None:
            self._links.put(None)  # for each later call
            raise LinkClosed(f"{self.address}: this side listens no more")
        return link

    def set_identity(self, identity: Identity) -> None:
        """Show another certificate, or trust others, from the next connection on.

        Raises:
            CertificateError: the identity cannot be used; the old one stays.
        """
        self._server.set_identity(identity)

    def check(self) -> None:
        """See ``Endpoint``: a child has no list of revoked parents; they lose the key that it trusts."""

    def close(self) -> None:
        """See ``Endpoint``."""
        self._server.close()
        with suppress(queue.Empty):
            while (waiting := self._links.get_nowait()) is not None:
                waiting.close()  # nobody will ask for it
        self._links.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()
