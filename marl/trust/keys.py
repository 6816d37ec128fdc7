"""The cluster key, and how it is replaced. It has 32 bytes; a node that holds them may do everything."""

import base64
import hmac
import re
import secrets
from pathlib import Path
from typing import Literal, NamedTuple

from marl.errors import KeyFileError
from marl.trust.armour import unwrap, wrap
from marl.trust.files import create_private, read_private
from marl.trust.home import marl_home
from marl.trust.secret import Secret

KEY_BYTES = 32
_MAX_FILE_BYTES = 4096
_CLUSTER_ID = re.compile(rb"[a-z2-7]{16}")
_MISSING = "run marl keys init on the parent, or marl invite NAME there and use the ticket here"
_DAMAGED = "copy the whole file again from the machine that made it"

Label = Literal["ca-ed25519", "cluster-id", "discovery"]


class KeyRing(NamedTuple):
    """The keys of one cluster: one that is shown, and during a rotation a second that is trusted too."""

    current: Secret
    cluster_id: str  # of the first key: a cluster keeps its name when its key changes
    next: Secret | None = None
    old: Secret | None = None

    @property
    def trusted(self) -> tuple[Secret, ...]:
        """Every key whose certificates are accepted."""
        return tuple(key for key in (self.current, self.next, self.old) if key is not None)

    @property
    def newest(self) -> Secret:
        """The key that will be left when the rotation is over: tickets are signed with it."""
        return self.next or self.current


def key_path(home: Path | None = None) -> Path:
    """Where the key is found without a flag."""
    return (home or marl_home()) / "cluster.key"


def create_keys(path: Path) -> tuple[KeyRing, bool]:
    """Make a key at ``path`` unless there is one; of several processes at once the losers load the winner's.

    Returns:
        The keys, and whether this call made them.

    Raises:
        KeyFileError: the folder cannot be written, or the key that is there is refused.
    """
    made = create_private(path, format_keys(_new_ring()))
    return load_keys(path), made


def load_keys(path: Path) -> KeyRing:
    """Read the cluster's key, or refuse it as ssh would.

    Raises:
        KeyFileError: the file is missing, damaged, a link, another user's, or open to others.
    """
    ring = parse_keys(read_private(path, max_bytes=_MAX_FILE_BYTES, advice=_MISSING))
    if isinstance(ring, str):
        raise KeyFileError(f"expected a cluster key in {path}, got {ring}: {_DAMAGED}")
    return ring


def derive(key: Secret, label: Label) -> Secret:
    """32 bytes for one purpose, which tell nothing of the key (HKDF-SHA256, RFC 5869, one block)."""
    extracted = hmac.digest(b"marl-cluster-v1", key.reveal(), "sha256")
    return Secret(hmac.digest(extracted, label.encode() + b"\x01", "sha256"))


def parse_keys(text: Secret) -> KeyRing | str:
    """The content of a key file; or, in words that quote nothing of it, what is wrong."""
    found: dict[bytes, Secret] = {}
    for line in text.reveal().splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().rpartition(b" ")
        word = word.strip()
        if word not in (b"", b"next", b"old", b"cluster"):
            return "some other text"
        if word in found:
            return "a line too many"
        kind, size = ("cluster", 16) if word == b"cluster" else ("key", KEY_BYTES)
        payload = unwrap(kind, Secret(rest), max_bytes=size)
        if isinstance(payload, str):
            return payload
        if len(payload.reveal()) != size:
            return f"{len(payload.reveal())} bytes instead of {size}"
        found[word] = payload
    if b"" not in found:
        return "nothing" if not found else "no current key"
    if b"next" in found and b"old" in found:
        return "a line too many"
    cluster_id = found[b"cluster"].reveal() if b"cluster" in found else _cluster_id(found[b""])
    if not _CLUSTER_ID.fullmatch(cluster_id):
        return "a cluster id that is none"
    return KeyRing(found[b""], cluster_id.decode("ascii"), found.get(b"next"), found.get(b"old"))


def format_keys(ring: KeyRing) -> Secret:
    """The content of a key file, as ``parse_keys`` reads it."""
    lines = [wrap("key", ring.current).reveal()]
    for word, key in ((b"next ", ring.next), (b"old ", ring.old)):
        if key is not None:
            lines.append(word + wrap("key", key).reveal())
    if ring.cluster_id.encode() != _cluster_id(ring.current):
        lines.append(b"cluster " + wrap("cluster", Secret(ring.cluster_id.encode())).reveal())
    return Secret(b"\n".join(lines) + b"\n")


def _new_ring() -> KeyRing:
    key = Secret(secrets.token_bytes(KEY_BYTES))
    return KeyRing(key, _cluster_id(key).decode("ascii"))


def _cluster_id(key: Secret) -> bytes:
    return base64.b32encode(derive(key, "cluster-id").reveal()[:10]).lower()
