"""Who the other side is, read from its certificate and from nothing that it says."""

import re
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from marl.errors import CertificateError

_CLUSTER_NAME = re.compile(r"[a-z2-7]{16}\.cluster\.internal")
# What goes into logs, tables and messages: no spaces, no control characters, no end.
_PRINTABLE = re.compile(r"[A-Za-z0-9._:@/*+-]{1,253}")


class Peer(NamedTuple):
    """A node as its certificate names it."""

    node_id: str
    serial: int
    fingerprint: str  # SHA-256 of the certificate, hexadecimal
    expires: datetime


def read_peer(certificate: x509.Certificate) -> Peer:
    """The node whose certificate this cluster's key or a ticket made; TLS has checked who signed it.

    Raises:
        CertificateError: it names no node.
    """
    names = _names(certificate)
    if len(names) == 2 and _CLUSTER_NAME.fullmatch(names[0]):
        node, separator, cluster = names[1].partition(".")
        if separator and cluster == names[0]:
            return _peer(node, certificate)
    raise CertificateError("expected a certificate that names a node and its cluster, got other names: make it by marl")


def read_pki_peer(certificate: x509.Certificate, allow: tuple[str, ...]) -> Peer:
    """The node whose certificate comes from its owner's own authority.

    Args:
        allow: the names that may speak; empty means all that the authority has signed.

    Raises:
        CertificateError: it has no name, or none that may speak.
    """
    names = _names(certificate)
    for name in names:
        if not allow or name in allow:
            return _peer(name, certificate)
    came = ", ".join(names) or "a certificate without names"
    expected = " or ".join(allow) or "a certificate with a subject alternative name"
    raise CertificateError(f"expected {expected}, got {came}: add --allow-name NAME here if it may speak")


def load_peer(der: bytes) -> x509.Certificate:
    """The certificate that ``SSLObject.getpeercert(binary_form=True)`` gives.

    Raises:
        CertificateError: it cannot be read.
    """
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise CertificateError(f"expected a certificate, got bytes that are none ({error}): replace it") from error


def _peer(node: str, certificate: x509.Certificate) -> Peer:
    fingerprint = certificate.fingerprint(SHA256()).hex()
    return Peer(node, certificate.serial_number, fingerprint, certificate.not_valid_after_utc)


def _names(certificate: x509.Certificate) -> list[str]:
    """Its subject alternative names in their order, of every kind that can be written down."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(name.value) for name in found]
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return []
    return [name for name in names if _PRINTABLE.fullmatch(name)]
