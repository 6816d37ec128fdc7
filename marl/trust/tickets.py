"""A child's ticket: its certificate, whom it trusts and usually its key, on one line of text."""

import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from marl.errors import CertificateError, TicketError
from marl.trust.armour import unwrap, wrap
from marl.trust.files import read_private
from marl.trust.home import marl_home
from marl.trust.secret import Secret
from marl.trust.tls.peers import Peer, read_peer

SEED_BYTES = 32
MAX_TICKET_BYTES = 8192
_MAX_AUTHORITIES = 4
_ADVICE = "run marl invite NAME on the parent and copy its whole line into this file"


class Ticket(NamedTuple):
    """What makes a machine a child of one cluster, and nothing more than a child."""

    certificate: x509.Certificate
    bundle: tuple[x509.Certificate, ...]  # the authorities whose parents it obeys
    seed: Secret | None  # of its key; None where the child made the key and keeps it
    peer: Peer  # how a parent will see it


def ticket_path(home: Path | None = None) -> Path:
    """Where a child finds its ticket without a flag."""
    return (home or marl_home()) / "child.ticket"


def format_ticket(
    certificate: x509.Certificate, bundle: tuple[x509.Certificate, ...], seed: Secret | None = None
) -> Secret:
    """The line of text: flag, seed if there is one, then each certificate behind its length."""
    ders = [each.public_bytes(Encoding.DER) for each in (certificate, *bundle)]
    parts = [bytes([seed is not None]), seed.reveal() if seed is not None else b""]
    return wrap("ticket", Secret(b"".join([*parts, *(struct.pack("!H", len(der)) + der for der in ders)])))


def read_ticket(path: Path, *, seed: Secret | None = None, now: datetime | None = None) -> Ticket:
    """Read a ticket that is still valid.

    Args:
        seed: the child's own key, for a ticket that carries none.

    Raises:
        KeyFileError: the file is missing, a link, another user's, or open to others.
        TicketError: it is damaged, expired, or belongs to another key.
    """
    ticket = parse_ticket(read_private(path, max_bytes=2 * MAX_TICKET_BYTES, advice=_ADVICE))
    if isinstance(ticket, str):
        raise TicketError(f"expected a ticket in {path}, got {ticket}: {_ADVICE}")
    name, expires = ticket.peer.node_id, ticket.peer.expires
    if expires <= (now or datetime.now(UTC)):
        raise TicketError(
            f"expected a ticket that is valid today, got one for {name} that expired on {expires:%Y-%m-%d}: "
            f"run marl invite {name} on the parent"
        )
    if ticket.seed is not None:
        return ticket
    if seed is None or not _fits(seed, ticket.certificate):
        raise TicketError(
            f"expected the key that the ticket of {name} was signed for, got {'none' if seed is None else 'another'}: "
            "ask for a new ticket with what marl request prints on this machine"
        )
    return ticket._replace(seed=seed)


def parse_ticket(line: Secret) -> Ticket | str:
    """The ticket of a line; or, in words that quote nothing of it, what is wrong. Its expiry is not looked at."""
    payload = unwrap("ticket", line, max_bytes=MAX_TICKET_BYTES)
    if isinstance(payload, str):
        return payload
    split = _split(payload)
    if split is None:
        return "fields that do not fit together"
    seed, ders = split
    try:
        certificate, *bundle = [x509.load_der_x509_certificate(der) for der in ders]
        if not _is_child(certificate) or (seed is not None and not _fits(seed, certificate)):
            return "a certificate that is not this child's"
        if not all(_is_authority(each) for each in bundle) or not any(_signed(certificate, each) for each in bundle):
            return "a certificate that its own authority did not sign"
        return Ticket(certificate, tuple(bundle), seed, read_peer(certificate))
    except CertificateError:
        return "a certificate that names no node"
    except Exception:  # an X.509 library has many ways to say that bytes are no certificate
        return "a certificate that cannot be read"


def _split(payload: Secret) -> tuple[Secret | None, list[bytes]] | None:
    data = payload.reveal()
    if data[:1] not in (b"\x00", b"\x01"):
        return None
    start = 1 + SEED_BYTES * data[0]
    seed = Secret(data[1:start]) if data[0] else None
    ders: list[bytes] = []
    while start < len(data):
        (length,) = struct.unpack_from("!H", data, start) if len(data) >= start + 2 else (0,)
        der = data[start + 2 : start + 2 + length]
        if not length or len(der) != length or len(ders) > _MAX_AUTHORITIES:
            return None
        ders.append(der)
        start += 2 + length
    return (seed, ders) if len(ders) >= 2 else None


def _is_child(certificate: x509.Certificate) -> bool:
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    return constraints.ca and isinstance(certificate.public_key(), Ed25519PublicKey)


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _fits(seed: Secret, certificate: x509.Certificate) -> bool:
    return Ed25519PrivateKey.from_private_bytes(seed.reveal()).public_key() == certificate.public_key()
