"""Everyone who must not come in, with real TLS: nothing they send is read, and both sides are told why."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from marl.errors import CertificateError
from marl.trust.identity import Identity, identity_from_keys
from marl.trust.keys import KeyRing
from marl.trust.secret import Secret
from marl.trust.tls.certificates import Leaf, leaf_of, make_leaf
from marl.trust.tls.contexts import client_context, server_context
from marl.trust.tls.explain import explain
from tests.trust.tls import handshake, meet_bytes

LONG_AGO = datetime(2012, 1, 1, tzinfo=UTC)  # its leaf has expired by now


def test_a_parent_and_a_child_of_one_cluster_meet(parent: Identity, child: Identity) -> None:
    met = handshake(server_context(child), client_context(parent), parent.server_name)
    assert met.done
    assert met.client.version() == "TLSv1.3"
    assert parent.read_peer(met.client.getpeercert(True)).node_id == "box-5050"
    assert child.read_peer(met.server.getpeercert(True)).node_id == "desk-1"
    assert not met.client.session_reused


def no_certificate(parent: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=parent.bundle)
    return context


def other_clusters_parent(parent: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    return _trusting(client_context(identity_from_keys(other, "parent", "desk-1")))


def self_signed(parent: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    private, now = Ed25519PrivateKey.generate(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "marl cluster")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    leaf = leaf_of(Secret(private.private_bytes_raw()), builder.sign(private, None))
    return _trusting(client_context(parent._replace(shows=leaf)))


def expired_parent(parent: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    return client_context(parent._replace(shows=make_leaf(ring, "parent", "desk-1", now=LONG_AGO)))


def child_as_parent(parent: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    return client_context(parent._replace(shows=make_leaf(ring, "child", "box-5050")))


def signed_by_a_parent(parent: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    return client_context(parent._replace(shows=_minted_by(make_leaf(ring, "parent", "desk-1"), "parent")))


def signed_by_a_child(parent: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    return client_context(parent._replace(shows=_minted_by(make_leaf(ring, "child", "box-5050"), "parent")))


def tls_1_2(parent: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    context = client_context(parent)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


BAD_CLIENTS: list[tuple[Callable[[Identity, KeyRing, KeyRing], ssl.SSLContext], str, str]] = [
    # who, what the child says, what the client is told where it is marl itself
    (no_certificate, "a parent's certificate, got none", "none was sent"),
    (other_clusters_parent, "of this cluster, got one of another", "of another cluster"),
    (self_signed, "of this cluster, got one of another", "of another cluster"),
    (expired_parent, "valid today, got one that has expired", "has expired: restart the parent"),
    (child_as_parent, "got one made for a child: a ticket lets", "made for a child: a ticket lets"),
    (signed_by_a_parent, "signed by another node", ""),
    (signed_by_a_child, "signed by another node", ""),
    (tls_1_2, "expected TLS 1.3, got an older version", "expected TLS 1.3, got an older version"),
]


@pytest.mark.parametrize(("client", "child_says", "parent_says"), BAD_CLIENTS)
def test_a_child_refuses(
    client: Callable[[Identity, KeyRing, KeyRing], ssl.SSLContext],
    child_says: str,
    parent_says: str,
    parent: Identity,
    child: Identity,
    ring: KeyRing,
    other_ring: KeyRing,
) -> None:
    met = handshake(server_context(child), client(parent, ring, other_ring), parent.server_name)
    _check_explained(met.server_error, "child", child_says)
    _check_explained(met.client_error, "parent", parent_says)


def other_clusters_child(child: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    # It knows this cluster's name and would take any parent.
    return _trusting(server_context(child._replace(shows=make_leaf(other, "child", "box-5050"))))


def expired_ticket(child: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    return server_context(child._replace(shows=make_leaf(ring, "child", "box-5050", now=LONG_AGO)))


def parent_as_child(child: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    return server_context(child._replace(shows=make_leaf(ring, "parent", "desk-1")))


def tls_1_2_child(child: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    context = server_context(child)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def other_name(child: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    return server_context(identity_from_keys(ring._replace(cluster_id="a" * 16), "child", "box-5050"))


def ticket_of_a_child(child: Identity, ring: KeyRing, other: KeyRing) -> ssl.SSLContext:
    return server_context(child._replace(shows=_minted_by(make_leaf(ring, "child", "box-5050"), "child")))


BAD_SERVERS: list[tuple[Callable[[Identity, KeyRing, KeyRing], ssl.SSLContext], str, str]] = [
    (other_clusters_child, "of this cluster, got one of another", "of another cluster"),
    (expired_ticket, "has expired: run marl invite NAME", "has expired: run marl invite NAME"),
    (parent_as_child, "got one made for a parent", "made for a parent"),
    (tls_1_2_child, "expected TLS 1.3, got an older version", "expected TLS 1.3, got an older version"),
    (other_name, "this cluster's name, got one with another", "another cluster's name"),
    (ticket_of_a_child, "signed by another node", ""),
]


@pytest.mark.parametrize(("server", "parent_says", "child_says"), BAD_SERVERS)
def test_a_parent_refuses(
    server: Callable[[Identity, KeyRing, KeyRing], ssl.SSLContext],
    parent_says: str,
    child_says: str,
    parent: Identity,
    child: Identity,
    ring: KeyRing,
    other_ring: KeyRing,
) -> None:
    met = handshake(server(child, ring, other_ring), client_context(parent), parent.server_name)
    _check_explained(met.client_error, "parent", parent_says)
    _check_explained(met.server_error, "child", child_says)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
        bytes(64),
        b"\xff" * 64,
        b"\x16\x03\x01\x00\x20" + b"\x01" * 40,
    ],
)
@pytest.mark.parametrize("side", ["parent", "child"])
def test_plain_bytes_are_no_handshake(data: bytes, side: str, parent: Identity, child: Identity) -> None:
    server_side = side == "child"
    context = server_context(child) if server_side else client_context(parent)
    error = meet_bytes(context, data, server_side=server_side)
    assert error is not None
    refusal = explain(error, here="child" if server_side else "parent", peer="10.0.0.7:5050")
    assert "got something else" in refusal.line
    assert refusal.permanent


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01"])
def test_who_hangs_up_may_come_again(data: bytes, child: Identity) -> None:
    error = meet_bytes(server_context(child), data, server_side=True, ends=True)
    assert error is not None
    refusal = explain(error, here="child", peer="10.0.0.7:40000")
    assert "closed connection" in refusal.line
    assert not refusal.permanent


def test_no_handler_runs_for_a_stranger_on_a_socket(parent: Identity, child: Identity) -> None:
    """The same over a real socket pair: the server side never gets as far as to read."""
    ours, theirs = socket.socketpair()
    reached = []

    def serve() -> None:
        with contextlib.suppress(OSError), server_context(child).wrap_socket(ours, server_side=True) as connection:
            reached.append(connection.recv(100))

    for each in (ours, theirs):
        each.settimeout(5)
    thread = threading.Thread(target=serve, name="server")
    thread.start()
    with ours, theirs:
        theirs.sendall(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
        thread.join(10)
    assert not thread.is_alive()
    assert not reached


def test_an_error_inside_a_library_error_is_found() -> None:
    wrapped = RuntimeError("did not receive a valid HTTP response")
    wrapped.__cause__ = OSError("closed")
    wrapped.__cause__.__context__ = CertificateError("expected a, got b: do c")
    assert explain(wrapped, here="parent", peer="box").line == "box: expected a, got b: do c"


def _check_explained(error: ssl.SSLError | None, here: str, says: str) -> None:
    """Refused, and said in one line with what was expected, what came and what to do."""
    assert error is not None
    refusal = explain(error, here="child" if here == "child" else "parent", peer="10.0.0.7:5050")
    assert says in refusal.line
    assert refusal.permanent
    assert "\n" not in refusal.line
    assert refusal.line.startswith("10.0.0.7:5050: expected ")
    assert ", got " in refusal.line
    assert "_ssl.c" not in refusal.line


def _trusting(context: ssl.SSLContext) -> ssl.SSLContext:
    """As an attacker's program would be: it takes any partner."""
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _minted_by(leaf: Leaf, role: str) -> Leaf:
    """A leaf that a leaf has signed, shown with its signer: a node that tries to admit others."""
    signer = load_pem_private_key(leaf.key.reveal(), None)
    assert isinstance(signer, Ed25519PrivateKey)
    own = x509.load_pem_x509_certificate(leaf.certificate)
    private = Ed25519PrivateKey.generate()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "minted")]))
        .issuer_name(own.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(own.not_valid_before_utc)
        .not_valid_after(own.not_valid_after_utc)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if role == "parent" else ExtendedKeyUsageOID.SERVER_AUTH
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
    for kind in (x509.BasicConstraints, x509.KeyUsage, x509.SubjectAlternativeName):
        copied = own.extensions.get_extension_for_class(kind)
        builder = builder.add_extension(copied.value, copied.critical)
    minted = leaf_of(Secret(private.private_bytes_raw()), builder.sign(signer, None))
    return minted._replace(certificate=minted.certificate + own.public_bytes(Encoding.PEM))
