"""One key makes one authority everywhere, and leaves that can do one thing."""

import hashlib
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from marl.errors import CertificateError, ConfigError
from marl.trust.keys import KeyRing
from marl.trust.secret import Secret
from marl.trust.tls.certificates import Role, authority, make_leaf

# Of the key 00 01 .. 1f. Another digest means that a new release no longer speaks with machines that run the old one.
DIGEST = "7cfc9d32f526ee60128eda553bb2e94d2691e16c24c75dad3676f38c95c10ec9"


def test_the_authority_is_the_same_on_every_machine() -> None:
    made = [authority(Secret(bytes(range(32)))).public_bytes(Encoding.DER) for _ in range(2)]
    assert made[0] == made[1]
    assert hashlib.sha256(made[0]).hexdigest() == DIGEST
    assert authority(Secret(bytes(32))).public_bytes(Encoding.DER) != made[0]


@pytest.mark.parametrize(
    ("role", "usage"), [("child", ExtendedKeyUsageOID.SERVER_AUTH), ("parent", ExtendedKeyUsageOID.CLIENT_AUTH)]
)
def test_a_leaf_has_one_usage_and_two_names(role: Role, usage: x509.ObjectIdentifier, ring: KeyRing) -> None:
    leaf = x509.load_pem_x509_certificate(make_leaf(ring, role, "box-5050").certificate)
    issuer = authority(ring.current)
    leaf.verify_directly_issued_by(issuer)
    found = leaf.extensions
    assert list(found.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
    cluster = f"{ring.cluster_id}.cluster.internal"
    names = found.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert names == [cluster, f"box-5050.{cluster}"]
    assert not found.get_extension_for_class(x509.BasicConstraints).value.ca
    usages = found.get_extension_for_class(x509.KeyUsage).value
    assert usages.digital_signature
    assert not usages.key_cert_sign
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert found.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == own


def test_the_authority_can_sign_leaves_only(ring: KeyRing) -> None:
    found = authority(ring.current).extensions
    constraints = found.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    usages = found.get_extension_for_class(x509.KeyUsage)
    assert usages.critical
    assert (usages.value.key_cert_sign, usages.value.crl_sign, usages.value.digital_signature) == (True, True, False)


def test_two_leaves_share_neither_key_nor_serial(ring: KeyRing) -> None:
    first, second = (x509.load_pem_x509_certificate(make_leaf(ring, "child", "box").certificate) for _ in range(2))
    assert first.serial_number != second.serial_number
    assert first.public_key() != second.public_key()


@pytest.mark.parametrize("name", ["", "-box", "box-", "Box", "a.b", "a" * 64, "é", "a b", "box\n"])
def test_a_name_that_cannot_be_is_refused(name: str, ring: KeyRing) -> None:
    with pytest.raises(ConfigError, match="expected a name"):
        make_leaf(ring, "child", name)


def test_a_clock_that_forgot_the_year_is_said(ring: KeyRing) -> None:
    with pytest.raises(CertificateError, match="set this machine's clock"):
        make_leaf(ring, "child", "box", now=datetime(1970, 1, 1, tzinfo=UTC))


def test_the_longest_name_fits(ring: KeyRing) -> None:
    assert make_leaf(ring, "child", "a" * 63)
