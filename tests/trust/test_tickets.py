"""One line of text makes a machine a child; a line with one wrong letter makes nothing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from marl.errors import ConfigError, KeyFileError, TicketError, TrustError
from marl.trust.armour import wrap
from marl.trust.identity import Identity, identity_from_ticket
from marl.trust.invitations import invite, load_child_key, make_request, sign_request
from marl.trust.keys import KeyRing, create_keys
from marl.trust.nodes import NodeBook
from marl.trust.secret import Secret
from marl.trust.tickets import MAX_TICKET_BYTES, Ticket, format_ticket, parse_ticket, read_ticket
from marl.trust.tls.certificates import authority, make_leaf, trust_bundle
from marl.trust.tls.contexts import client_context, server_context
from tests.trust.tls import handshake

# The same examples each time, however slow the machine.
BOUNDED = settings(derandomize=True, deadline=None, max_examples=200)

TODAY = datetime(2030, 5, 17, tzinfo=UTC)


@pytest.fixture(scope="module")
def ticket(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    home = tmp_path_factory.mktemp("invites")
    return invite(create_keys(home / "cluster.key")[0], NodeBook(home), "gpu-box-3").reveal()


def test_an_invited_machine_serves_the_parent_and_is_known(
    ring: KeyRing, book: NodeBook, parent: Identity, tmp_path: Path
) -> None:
    line = invite(ring, book, "gpu-box-3")
    assert len(line.reveal()) < 1400
    assert b"\n" not in line.reveal()
    child = identity_from_ticket(read_ticket(_write(tmp_path, line.reveal() + b"\n")))
    met = handshake(server_context(child), client_context(parent), parent.server_name)
    assert met.done
    peer = parent.read_peer(met.client.getpeercert(True))
    assert peer.node_id == "gpu-box-3"
    assert [(node.name, node.serial, node.invited) for node in book.nodes()] == [("gpu-box-3", peer.serial, True)]


def test_a_child_may_keep_its_key_to_itself(ring: KeyRing, book: NodeBook, parent: Identity, tmp_path: Path) -> None:
    request = make_request(tmp_path / "child.key")
    assert make_request(tmp_path / "child.key") == request
    seed = load_child_key(tmp_path / "child.key")
    path = _write(tmp_path, sign_request(ring, book, Secret(f"  {request}\n".encode()), "box").reveal())
    with pytest.raises(TicketError, match="got none: ask for a new ticket"):
        read_ticket(path)
    with pytest.raises(TicketError, match="got another: ask for a new ticket"):
        read_ticket(path, seed=Secret(bytes(32)))
    child = identity_from_ticket(read_ticket(path, seed=seed))
    assert handshake(server_context(child), client_context(parent), parent.server_name).done


@pytest.mark.parametrize("request_line", [b"", b"\xff", b"marl-request-1:AA-AA", b"marl-key-1:AA-AA"])
def test_a_request_that_is_none_is_refused(request_line: bytes, ring: KeyRing, book: NodeBook) -> None:
    with pytest.raises(TicketError, match="expected a child's request"):
        sign_request(ring, book, Secret(request_line), "box")
    assert book.nodes() == []


def test_a_short_child_key_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, wrap("child", Secret(bytes(31))).reveal())
    with pytest.raises(KeyFileError, match="another length: delete it"):
        make_request(path)


def test_an_expired_ticket_says_when_and_what_to_do(ring: KeyRing, book: NodeBook, tmp_path: Path) -> None:
    path = _write(tmp_path, invite(ring, book, "box", days=30, now=TODAY).reveal())
    assert read_ticket(path, now=TODAY + timedelta(days=29))
    with pytest.raises(TicketError, match=r"box that expired on 2030-06-16: run marl invite box"):
        read_ticket(path, now=TODAY + timedelta(days=31))


@pytest.mark.parametrize("days", [0, -1, 36_501])
def test_days_that_cannot_be_are_refused(days: int, ring: KeyRing, book: NodeBook) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 36500 days"):
        invite(ring, book, "box", days=days)


def test_a_ticket_that_cannot_be_written_down_is_not_given_out(ring: KeyRing, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TrustError, match="expected to write"):
        invite(ring, NodeBook(tmp_path / "file"), "box")


def test_a_ticket_lies_where_only_its_owner_can_read_it(ticket: bytes, tmp_path: Path) -> None:
    path = _write(tmp_path, ticket)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_ticket(path)


def test_a_missing_or_foreign_ticket_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="nothing there: run marl invite NAME"):
        read_ticket(tmp_path / "child.ticket")
    with pytest.raises(TicketError, match="got some other text: run marl invite NAME"):
        read_ticket(_write(tmp_path, b"hello"))


def test_every_shorter_ticket_is_refused(ticket: bytes) -> None:
    assert isinstance(parse_ticket(Secret(ticket)), Ticket)
    assert all(isinstance(parse_ticket(Secret(ticket[:length])), str) for length in range(0, len(ticket), 7))
    assert isinstance(parse_ticket(Secret(ticket[:-1])), str)


@BOUNDED
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_every_flipped_bit_is_refused(ticket: bytes, place: int, bit: int) -> None:
    flipped = bytearray(ticket)
    flipped[place % len(ticket)] ^= 1 << bit
    assert isinstance(parse_ticket(Secret(bytes(flipped))), str)


@BOUNDED
@given(data=st.binary(max_size=2000))
def test_any_text_is_a_problem(data: bytes) -> None:
    assert isinstance(parse_ticket(Secret(data)), str)
    assert isinstance(parse_ticket(Secret(b"marl-ticket-1:" + data)), str)
    assert isinstance(parse_ticket(wrap("ticket", Secret(data))), str)


@BOUNDED
@given(place=st.integers(33, 10_000), change=st.integers(1, 255))
def test_bytes_changed_below_the_checksum_are_a_ticket_or_a_problem(ticket: bytes, place: int, change: int) -> None:
    """As an attacker would: what they change must at least remain a certificate that the authority signed."""
    parsed = parse_ticket(Secret(ticket))
    assert isinstance(parsed, Ticket)
    assert parsed.seed is not None
    payload = bytearray(_payload(parsed))
    payload[33 + place % (len(payload) - 33)] ^= change
    changed = parse_ticket(wrap("ticket", Secret(bytes(payload))))
    if isinstance(changed, Ticket):
        assert changed.certificate == parsed.certificate


def test_a_ticket_too_long_is_refused_before_it_is_decoded(ticket: bytes) -> None:
    assert parse_ticket(wrap("ticket", Secret(bytes(MAX_TICKET_BYTES + 1)))) == f"more than {MAX_TICKET_BYTES} bytes"


def test_a_line_of_wrong_certificates_is_refused(ring: KeyRing, other_ring: KeyRing) -> None:
    def of(role: str, bundle_of: KeyRing, seed: Secret | None = None) -> Ticket | str:
        leaf = make_leaf(ring, "child" if role == "child" else "parent", "box")
        return parse_ticket(
            format_ticket(x509.load_pem_x509_certificate(leaf.certificate), trust_bundle(bundle_of), seed)
        )

    assert isinstance(of("child", ring), Ticket)
    assert of("parent", ring) == "a certificate that is not this child's"
    assert of("child", ring, Secret(bytes(32))) == "a certificate that is not this child's"
    assert of("child", other_ring) == "a certificate that its own authority did not sign"
    only = format_ticket(authority(ring.current), ())
    assert parse_ticket(only) == "fields that do not fit together"
    many = format_ticket(authority(ring.current), (authority(ring.current),) * 5)
    assert parse_ticket(many) == "fields that do not fit together"


def _payload(ticket: Ticket) -> bytes:
    assert ticket.seed is not None
    parts = [each.public_bytes(Encoding.DER) for each in (ticket.certificate, *ticket.bundle)]
    return b"\x01" + ticket.seed.reveal() + b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "child.ticket"
    path.write_bytes(content)
    path.chmod(0o600)
    return path
