"""TLS is what the design says, keys leave nothing behind, and an owner's own authority serves as well."""

import os
import ssl
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from marl.errors import CertificateError, TicketError
from marl.trust.identity import Identity, identity_from_pki, identity_from_ticket
from marl.trust.keys import KeyRing
from marl.trust.tickets import Ticket
from marl.trust.tls.certificates import make_leaf
from marl.trust.tls.contexts import client_context, server_context
from marl.trust.tls.explain import explain
from marl.trust.tls.peers import load_peer, read_peer
from tests.trust.company import Company
from tests.trust.tls import handshake


def test_both_sides_insist(parent: Identity, child: Identity) -> None:
    for context in (server_context(child), client_context(parent)):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.verify_flags & ssl.VERIFY_X509_STRICT
    assert server_context(child).num_tickets == 0
    assert client_context(parent).check_hostname


@pytest.mark.parametrize("memory_files", [True, False])
def test_no_key_stays_behind(
    memory_files: bool, parent: Identity, child: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    written = []
    if not memory_files:
        monkeypatch.delattr(os, "memfd_create", raising=False)
        unlink = Path.unlink
        monkeypatch.setattr(Path, "unlink", lambda path: (written.append(_look(path)), unlink(path)))
    before = os.listdir("/proc/self/fd")
    assert handshake(server_context(child), client_context(parent), parent.server_name).done
    assert os.listdir("/proc/self/fd") == before
    assert list((tmp_path / "temporary").iterdir()) == []
    # Even in the moment in which it lay there, it was encrypted and for its owner only.
    assert written == ([] if memory_files else [(0o600, True)] * 2)


def test_a_full_disk_is_said(child: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with pytest.raises(CertificateError, match="check the temporary folder"):
        server_context(child)


def test_a_ticket_without_its_key_is_no_identity(ring: KeyRing) -> None:
    certificate = x509.load_pem_x509_certificate(make_leaf(ring, "child", "box").certificate)
    with pytest.raises(TicketError, match="with a key, got one without"):
        identity_from_ticket(Ticket(certificate, (), None, read_peer(certificate)))


def test_an_own_authority_serves_both_sides(company: Company) -> None:
    parent = identity_from_pki(**company.issue("desk.example"), server_name="box.example", allow=("box.example",))
    child = identity_from_pki(**company.issue("box.example", "gpu.example"), allow=("desk.example",))
    met = handshake(server_context(child), client_context(parent), parent.server_name)
    assert met.done
    assert parent.read_peer(met.client.getpeercert(True)).node_id == "box.example"
    assert child.read_peer(met.server.getpeercert(True)).node_id == "desk.example"
    strict = child._replace(allow=("other.example",))
    with pytest.raises(CertificateError, match=r"expected other.example, got desk.example: add --allow-name NAME"):
        strict.read_peer(met.server.getpeercert(True))
    # Its certificates name no node of a cluster made by a key.
    with pytest.raises(CertificateError, match="names a node and its cluster"):
        read_peer(load_peer(met.server.getpeercert(True) or b""))


def test_an_own_authoritys_wrong_name_is_explained(company: Company) -> None:
    parent = identity_from_pki(**company.issue("desk.example"))
    child = identity_from_pki(**company.issue("box.example"))
    met = handshake(server_context(child), client_context(parent), "10.0.0.7")
    assert met.client_error is not None
    assert "check --server-name" in explain(met.client_error, here="parent", peer="10.0.0.7").line


def test_a_certificate_without_names_is_nobody(company: Company) -> None:
    identity = identity_from_pki(**company.issue())
    der = x509.load_pem_x509_certificate(identity.shows.certificate.read_bytes()).public_bytes(Encoding.DER)
    with pytest.raises(CertificateError, match="got a certificate without names"):
        identity.read_peer(der)
    for nothing in (None, b"", b"\x30\x00"):
        with pytest.raises(CertificateError, match="expected"):
            identity.read_peer(nothing)


@pytest.mark.parametrize("wrong", ["certificate", "key", "authority"])
@pytest.mark.parametrize("content", [None, b"", b"no certificate\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_that_cannot_be_used_is_said(wrong: str, content: bytes | None, company: Company) -> None:
    files = company.issue("box.example")
    files[wrong].unlink()
    if content is not None:
        files[wrong].write_bytes(content)
    with pytest.raises(CertificateError, match=r"expected .* got .*--") as caught:
        server_context(identity_from_pki(**files))
    assert "\n" not in str(caught.value)


def test_a_key_with_a_password_is_said_and_not_asked_for(company: Company) -> None:
    files = company.issue("box.example", password=b"hidden")
    with pytest.raises(CertificateError, match="unencrypted key"):
        server_context(identity_from_pki(**files))


def test_a_key_of_another_certificate_is_said(company: Company) -> None:
    files = {**company.issue("box.example"), "key": company.issue("desk.example")["key"]}
    with pytest.raises(CertificateError, match="key values mismatch"):
        server_context(identity_from_pki(**files))


def _look(path: Path) -> tuple[int, bool]:
    return path.stat().st_mode & 0o777, b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
