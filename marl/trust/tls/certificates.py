"""Certificates made from the cluster key: one authority, the same on every machine, and a leaf for each node."""

from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from marl.errors import CertificateError
from marl.trust.keys import KeyRing, derive
from marl.trust.names import check_name
from marl.trust.secret import Secret

Role = Literal["parent", "child"]

# Everything about the authority is fixed: two machines with one key must arrive at the same bytes.
_AUTHORITY = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "marl cluster")])
_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
# Who holds the key can make leaves at will, so an early end would stop long runs and no thief.
_IN_MEMORY_DAYS = 3650
# A child only ever serves and a parent only ever connects: with one usage each, neither can play the other.
_USAGE = {"child": ExtendedKeyUsageOID.SERVER_AUTH, "parent": ExtendedKeyUsageOID.CLIENT_AUTH}


class Leaf(NamedTuple):
    """A node's own certificate with the key that proves it."""

    key: Secret  # PEM
    certificate: bytes  # PEM


def cluster_name(cluster_id: str) -> str:
    """The name that a parent checks: it knows addresses, and no address is in a certificate."""
    return f"{cluster_id}.cluster.internal"


def authority(key: Secret) -> x509.Certificate:
    """The certificate of a cluster key's authority: byte-identical wherever it is made."""
    signer = _signer(key)
    return (
        _unsigned(_AUTHORITY, signer.public_key(), serial=1, end=_END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(signer, algorithm=None)
    )


def trust_bundle(ring: KeyRing) -> tuple[x509.Certificate, ...]:
    """The authorities that a node of this cluster accepts: two during a rotation."""
    return tuple(authority(key) for key in ring.trusted)


def make_leaf(ring: KeyRing, role: Role, node: str, *, now: datetime | None = None) -> Leaf:
    """A leaf for a node that holds the cluster key: made at each start, kept in memory.

    Raises:
        ConfigError: ``node`` cannot be a name.
        CertificateError: this machine's clock is before 2020.
    """
    private = Ed25519PrivateKey.generate()
    end = (now or datetime.now(UTC)) + timedelta(days=_IN_MEMORY_DAYS)
    signed = sign_leaf(ring.current, private.public_key(), role=role, node=node, cluster_id=ring.cluster_id, end=end)
    return leaf_of(Secret(private.private_bytes_raw()), signed)


def leaf_of(seed: Secret, certificate: x509.Certificate) -> Leaf:
    """Join a certificate and the 32 bytes of its key into what TLS loads."""
    private = Ed25519PrivateKey.from_private_bytes(seed.reveal())
    pem = Secret(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Leaf(pem, certificate.public_bytes(Encoding.PEM))


def sign_leaf(
    key: Secret, public: Ed25519PublicKey, *, role: Role, node: str, cluster_id: str, end: datetime
) -> x509.Certificate:
    """Sign a node's public key with the authority of ``key``, for one role and until ``end``.

    Raises:
        ConfigError: ``node`` cannot be a name.
        CertificateError: ``end`` is before 2020: the clock is wrong.
    """
    check_name(node)
    if not _BEGIN < end < _END:
        raise CertificateError(f"expected an end between 2020 and 9999, got {end:%Y-%m-%d}: set this machine's clock")
    signer = _signer(key)
    name = cluster_name(cluster_id)
    return (
        # The name is at most 64 characters long by X.520; the one that counts is the second alternative below.
        _unsigned(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)]), public, serial=None, end=end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_USAGE[role]]), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName(f"{node}.{name}")]), False)
        # Which of two authorities of the same name signed it.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, algorithm=None)
    )


def _signer(key: Secret) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(derive(key, "ca-ed25519").reveal())


def _unsigned(
    subject: x509.Name, public: Ed25519PublicKey, *, serial: int | None, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_AUTHORITY)
        .public_key(public)
        .serial_number(serial or x509.random_serial_number())
        # No later begin: a machine whose clock is a day behind joins all the same.
        .not_valid_before(_BEGIN)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
