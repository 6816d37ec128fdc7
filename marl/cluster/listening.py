"""The endpoint on which a child listens: its address, its identity and its announcement on the local network."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from marl.cluster.identities import LiveIdentity
from marl.links.websocket.listener import Listener
from marl.links.websocket.loop import IOLoop
from marl.trust.find_identity import child_identity, watched_file
from marl.trust.options import TrustOptions


class Listening:
    """Listens for as long as the block runs.

    with Listening("10.0.0.8", 5050, trust, home, note) as listening:
        link = listening.endpoint.meet()
    """

    def __init__(
        self,
        host: str,
        port: int,
        trust: TrustOptions,
        home: Path,
        note: Callable[[str], None],
        *,
        announce: bool = False,
    ) -> None:
        """
        Args:
            home: folder of the key or ticket.
            announce: on the local network, for discovery.

        Raises:
            MarlError: this address requires an identity, and there is none.
        """
        self._host, self._port, self._note, self._announce = host, port, note, announce
        _, self.name = child_identity(trust, home, host=host, port=port)
        self._identity = LiveIdentity(
            lambda: child_identity(trust, home, host=host, port=port)[0], watched_file(trust, home, "child"), note
        )

    def __enter__(self) -> "Listening":
        """Begin to listen.

        Raises:
            MarlError: the child cannot listen, or may not.
        """
        with contextlib.ExitStack() as stack:
            io = stack.enter_context(IOLoop())
            self.endpoint = stack.enter_context(Listener(io, self._host, self._port, self._identity(), self._note))
            if self._announce:
                from marl.links.discovery.discover import announced

                stack.enter_context(announced(self.name, self._host, self.endpoint.port))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *unused: object) -> None:
        self._stack.close()

    @property
    def address(self) -> str:
        """The address as users see it."""
        return f"{'ws' if self._identity() is None else 'wss'}://{self.endpoint.address}"

    def poll(self) -> None:
        """Check whether the key or ticket was replaced; new links then use the new one."""
        identity = self._identity() if self._identity.poll() else None
        if identity is not None:
            self.endpoint.set_identity(identity)
