"""How a machine becomes a child: the parent invites it by name, or signs the key that the machine made itself."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from marl.errors import ConfigError, KeyFileError, TicketError
from marl.trust.armour import unwrap, wrap
from marl.trust.files import create_private, read_private
from marl.trust.home import marl_home
from marl.trust.keys import KeyRing
from marl.trust.nodes import NodeBook
from marl.trust.secret import Secret
from marl.trust.tickets import SEED_BYTES, format_ticket
from marl.trust.tls.certificates import sign_leaf, trust_bundle
from marl.trust.tls.peers import read_peer

DAYS = 365


def invite(ring: KeyRing, book: NodeBook, name: str, *, days: int = DAYS, now: datetime | None = None) -> Secret:
    """A ticket for the child ``name``: one line, to be carried there by a way that nobody else reads.

    Raises:
        ConfigError: ``name`` or ``days`` cannot be.
        CertificateError: this machine's clock is wrong.
        TrustError: the list of nodes cannot be written.
    """
    private = Ed25519PrivateKey.generate()
    seed = Secret(private.private_bytes_raw())
    return _ticket(ring, book, name, private.public_key(), seed=seed, days=days, now=now)


def sign_request(
    ring: KeyRing, book: NodeBook, request: Secret, name: str, *, days: int = DAYS, now: datetime | None = None
) -> Secret:
    """A ticket without a key, for a child that made its own: a reader on the way gains nothing.

    Args:
        request: the child's line; a secret, because a person may paste a key or a ticket instead.

    Raises:
        TicketError: ``request`` is not the line that ``make_request`` gave.
        ConfigError: ``name`` or ``days`` cannot be.
        CertificateError: this machine's clock is wrong.
        TrustError: the list of nodes cannot be written.
    """
    payload = unwrap("request", request, max_bytes=SEED_BYTES)
    if isinstance(payload, str) or len(payload.reveal()) != SEED_BYTES:
        came = payload if isinstance(payload, str) else "a key of another length"
        raise TicketError(f"expected a child's request, got {came}: copy the whole line that the child printed")
    public = Ed25519PublicKey.from_public_bytes(payload.reveal())
    return _ticket(ring, book, name, public, seed=None, days=days, now=now)


def child_key_path(home: Path | None = None) -> Path:
    """Where a child keeps a key that it made itself."""
    return (home or marl_home()) / "child.key"


def make_request(path: Path) -> str:
    """The line that asks a parent to sign this machine's key; the key is made at ``path`` if there is none.

    Raises:
        KeyFileError: the key cannot be written, or the one that is there is refused.
    """
    create_private(path, wrap("child", Secret(Ed25519PrivateKey.generate().private_bytes_raw())))
    public = Ed25519PrivateKey.from_private_bytes(load_child_key(path).reveal()).public_key()
    return wrap("request", Secret(public.public_bytes_raw())).reveal().decode("ascii")


def load_child_key(path: Path) -> Secret:
    """The 32 bytes of a key that ``make_request`` stored, for ``read_ticket``.

    Raises:
        KeyFileError: the file is missing, damaged, a link, another user's, or open to others.
    """
    seed = unwrap("child", read_private(path, max_bytes=1024, advice="run marl request first"), max_bytes=SEED_BYTES)
    if isinstance(seed, str) or len(seed.reveal()) != SEED_BYTES:
        came = seed if isinstance(seed, str) else "one of another length"
        raise KeyFileError(f"expected a child's own key in {path}, got {came}: delete it and run marl request")
    return seed


def _ticket(
    ring: KeyRing,
    book: NodeBook,
    name: str,
    public: Ed25519PublicKey,
    *,
    seed: Secret | None,
    days: int,
    now: datetime | None,
) -> Secret:
    if not 1 <= days <= 36_500:
        raise ConfigError(f"expected 1 to 36500 days, got {days}: a year is usual")
    end = (now or datetime.now(UTC)) + timedelta(days=days)
    # The newest key: during a rotation, it is the one that will be left.
    signed = sign_leaf(ring.newest, public, role="child", node=name, cluster_id=ring.cluster_id, end=end)
    # Written down before it leaves, so that revoke always knows every ticket of a name.
    book.issued(read_peer(signed))
    return format_ticket(signed, trust_bundle(ring), seed)
