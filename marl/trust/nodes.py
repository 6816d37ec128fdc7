"""The nodes that a parent knows, and those that it no longer lets in."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from marl.errors import TrustError
from marl.trust.files import create_private, replace_private
from marl.trust.home import marl_home
from marl.trust.secret import Secret
from marl.trust.tls.peers import Peer

logger = logging.getLogger(__name__)


class Node(NamedTuple):
    """One line of ``marl nodes``: a name, and the certificate it had last."""

    name: str
    serial: int
    fingerprint: str
    expires: datetime
    last_seen: datetime | None
    invited: bool  # by a ticket made here; otherwise it holds the cluster key, or its ticket was made elsewhere
    revoked: bool


def nodes_path(home: Path | None = None) -> Path:
    """The folder in which a parent, ``marl revoke`` and ``marl nodes`` meet."""
    return (home or marl_home()) / "nodes"


class NodeBook:
    """One small file per certificate, and an empty one beside it once it is revoked.

    A running parent and ``marl revoke`` write at the same time. With a file each, neither can undo the other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def issued(self, peer: Peer) -> None:
        """Remember a ticket that was made.

        Raises:
            TrustError: the folder cannot be written.
        """
        self._write(Node(*_facts(peer), last_seen=None, invited=True, revoked=False))

    def seen(self, peer: Peer, *, now: datetime | None = None) -> None:
        """Remember that a node was here; a full disk costs the entry, never the run."""
        try:
            before = [node for node in self._read_all() if node.name == peer.node_id]
            invited = any(node.invited for node in before if node.serial == peer.serial)
            moment = (now or datetime.now(UTC)).replace(microsecond=0)
            self._write(Node(*_facts(peer), last_seen=moment, invited=invited, revoked=False))
            for node in before:
                # Who holds the key has a new certificate at every start: only the newest is a node.
                if not node.invited and node.serial != peer.serial:
                    self._file(node.serial, "json").unlink(missing_ok=True)
        except (OSError, TrustError) as error:
            logger.warning("node %s is not written down: %s", peer.node_id, error)

    def revoke(self, name: str) -> list[Node]:
        """Let ``name`` in no more, with any certificate it has had so far.

        A node that was not invited can make itself another certificate, since it holds the cluster key: rotate that.

        Raises:
            TrustError: there is no such node, or the folder cannot be written.
        """
        found = [node for node in self._read_all() if node.name == name]
        if not found:
            known = ", ".join(sorted({node.name for node in self._read_all()})) or "none so far"
            raise TrustError(f"expected the name of a known node, got {name!r}: the nodes are {known}")
        for node in found:
            create_private(self._file(node.serial, "revoked"), Secret(b""))
        return [node._replace(revoked=True) for node in found]

    def check(self, peer: Peer) -> None:
        """Let a node in, or not: asked at each connection, and about once a second for open ones.

        Raises:
            TrustError: it was revoked, or that cannot be found out.
        """
        if self.is_revoked(peer.serial):
            raise TrustError(
                f"expected a node that is let in, got {peer.node_id}, which was revoked here: "
                f"run marl invite {peer.node_id} to let it in with a new ticket"
            )

    def is_revoked(self, serial: int) -> bool:
        """Whether this certificate is refused; the answer is never an old one.

        Raises:
            TrustError: that cannot be found out, so the node must not be let in.
        """
        path = self._file(serial, "revoked")
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise TrustError(f"expected to look for {path}, got {error.strerror or error}: check its owner") from error
        return True

    def nodes(self) -> list[Node]:
        """Every known node by name: of one that has had several certificates, the one seen or made last.

        Raises:
            TrustError: the folder cannot be read.
        """
        newest: dict[str, Node] = {}
        for node in self._read_all():
            other = newest.get(node.name)
            if other is None or _age(node) > _age(other):
                newest[node.name] = node
        return [newest[name] for name in sorted(newest)]

    def _read_all(self) -> list[Node]:
        try:
            # Not glob: it passes over a folder that may not be read, and a revoked node would be unknown.
            paths = sorted(path for path in self._folder.iterdir() if path.suffix == ".json")
            return [node for path in paths if (node := self._read(path)) is not None]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TrustError(
                f"expected to read {self._folder}, got {error.strerror or error}: check its owner"
            ) from error

    def _read(self, path: Path) -> Node | None:
        """None for a file that is no entry of ours, or that was just pruned: it names no one we could let in."""
        try:
            entry: dict[str, Any] = json.loads(path.read_bytes())
            serial = int(path.stem, 16)
            return Node(
                str(entry["name"]),
                serial,
                str(entry["fingerprint"]),
                datetime.fromisoformat(entry["expires"]).astimezone(UTC),
                datetime.fromisoformat(entry["last_seen"]).astimezone(UTC) if entry["last_seen"] else None,
                bool(entry["invited"]),
                self.is_revoked(serial),
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _write(self, node: Node) -> None:
        entry = {
            "name": node.name,
            "fingerprint": node.fingerprint,
            "expires": node.expires.isoformat(),
            "last_seen": node.last_seen.isoformat() if node.last_seen else None,
            "invited": node.invited,
        }
        replace_private(self._file(node.serial, "json"), Secret(json.dumps(entry).encode() + b"\n"))

    def _file(self, serial: int, kind: str) -> Path:
        return self._folder / f"{serial:x}.{kind}"


def _facts(peer: Peer) -> tuple[str, int, str, datetime]:
    return peer.node_id, peer.serial, peer.fingerprint, peer.expires


def _age(node: Node) -> tuple[bool, datetime, datetime]:
    """A ticket just made counts as newer than one already used."""
    return (node.last_seen is None, node.last_seen or node.expires, node.expires)
