"""Endpoints for children that are named by address, with this parent's identity and its list of revoked nodes."""

from collections.abc import Callable, Sequence
from pathlib import Path

from marl.cluster.addresses import Address
from marl.cluster.identities import LiveIdentity
from marl.links.websocket.dialer import Dialer
from marl.links.websocket.loop import IOLoop
from marl.trust.find_identity import is_loopback, parent_identity, watched_file
from marl.trust.nodes import NodeBook, nodes_path
from marl.trust.options import TrustOptions


class Dialing:
    """One endpoint per address. They share a thread, this parent's identity and the list of revoked nodes."""

    def __init__(
        self, addresses: Sequence[Address], trust: TrustOptions, home: Path, note: Callable[[str], None]
    ) -> None:
        """
        Args:
            home: folder of the key and of the nodes that are known.

        Raises:
            MarlError: these addresses require an identity, and there is none.
        """
        loopback = all(is_loopback(address.host) for address in addresses)
        self._identity = LiveIdentity(
            lambda: parent_identity(trust, home, loopback_only=loopback), watched_file(trust, home, "parent"), note
        )
        self._book = None if self._identity() is None else NodeBook(nodes_path(home))
        self._io = IOLoop().start()
        self.endpoints = [self.dial(address) for address in addresses]

    def dial(self, address: Address) -> Dialer:
        """An endpoint for one address more."""
        return Dialer(self._io, address.host, address.port, self._identity, node=address.node, book=self._book)

    def poll(self) -> None:
        """Check whether the key was replaced; new links then use the new one."""
        self._identity.poll()

    def close(self) -> None:
        """Close every link that is still open; may be called twice."""
        self._io.close()
