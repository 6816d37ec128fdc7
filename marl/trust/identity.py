"""What a node shows and whom it believes, from any of the three sources of trust."""

from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from marl.errors import CertificateError, TicketError
from marl.trust.keys import KeyRing
from marl.trust.tickets import Ticket
from marl.trust.tls.certificates import Leaf, Role, cluster_name, leaf_of, make_leaf, trust_bundle
from marl.trust.tls.peers import Peer, load_peer, read_peer, read_pki_peer


class OwnFiles(NamedTuple):
    """The certificate and key of an owner with an authority of their own."""

    certificate: Path
    key: Path


class Identity(NamedTuple):
    """Everything that TLS needs to know on one side."""

    shows: Leaf | OwnFiles
    bundle: str  # PEM of the authorities it accepts
    server_name: str | None  # what a parent checks in a child's certificate; None: the address it connects to
    own_pki: bool = False
    allow: tuple[str, ...] = ()  # with an own PKI: the names that may speak, empty for all

    def read_peer(self, der: bytes | None) -> Peer:
        """Who the other side is, from ``getpeercert(binary_form=True)`` of a finished handshake.

        Raises:
            CertificateError: it names no node, or none that may speak here.
        """
        if der is None:
            raise CertificateError("expected the other side's certificate, got none: this is a fault of marl")
        certificate = load_peer(der)
        return read_pki_peer(certificate, self.allow) if self.own_pki else read_peer(certificate)


def identity_from_keys(ring: KeyRing, role: Role, node: str) -> Identity:
    """The identity of a node that holds the cluster key, with a fresh certificate.

    Raises:
        ConfigError: ``node`` cannot be a name.
        CertificateError: this machine's clock is wrong.
    """
    bundle = "".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in trust_bundle(ring))
    return Identity(make_leaf(ring, role, node), bundle, cluster_name(ring.cluster_id))


def identity_from_ticket(ticket: Ticket) -> Identity:
    """The identity of a child that was invited.

    Raises:
        TicketError: the ticket has no key: give ``read_ticket`` the child's own.
    """
    if ticket.seed is None:
        raise TicketError("expected a ticket with a key, got one without: read it together with the child's own key")
    bundle = "".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in ticket.bundle)
    return Identity(leaf_of(ticket.seed, ticket.certificate), bundle, None)


def pki_node_id(certificate: Path) -> str:
    """The name by which the other side will know the owner of this certificate.

    Raises:
        CertificateError: it cannot be read, or has no name.
    """
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        came = error.strerror or error if isinstance(error, OSError) else "a text that is no PEM"
        raise CertificateError(
            f"expected a certificate in {certificate}, got {came}: name a PEM file after --cert"
        ) from error
    return read_pki_peer(found, ()).node_id


def identity_from_pki(
    *, certificate: Path, key: Path, authority: Path, server_name: str | None = None, allow: tuple[str, ...] = ()
) -> Identity:
    """The identity of a node whose owner has an authority of their own (``--cert --key --ca``).

    Raises:
        CertificateError: the authority's file cannot be read.
    """
    try:
        # Comments between certificates may be in any language; OpenSSL takes ASCII.
        bundle = authority.read_bytes().decode("ascii", "ignore")
    except OSError as error:
        raise CertificateError(
            f"expected certificates in {authority}, got {error.strerror or error}: name a PEM file after --ca"
        ) from error
    return Identity(OwnFiles(certificate, key), bundle, server_name, own_pki=True, allow=allow)
