"""The list of nodes: nothing it once refused comes back, however many write to it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from marl.errors import TrustError
from marl.trust.nodes import NodeBook
from marl.trust.tls.peers import Peer

NOW = datetime(2030, 5, 17, 12, tzinfo=UTC)


def peer(name: str, serial: int) -> Peer:
    return Peer(name, serial, f"{serial:064x}", NOW + timedelta(days=300))


def test_a_node_is_written_down_when_invited_and_when_seen(book: NodeBook) -> None:
    assert book.nodes() == []
    book.issued(peer("box", 7))
    (node,) = book.nodes()
    assert (node.name, node.serial, node.invited, node.last_seen, node.revoked) == ("box", 7, True, None, False)
    book.seen(peer("box", 7), now=NOW)
    (node,) = book.nodes()
    assert (node.invited, node.last_seen, node.fingerprint) == (True, NOW, f"{7:064x}")


def test_many_restarts_with_the_key_are_one_node(book: NodeBook, tmp_path: Path) -> None:
    for serial in range(1, 26):
        book.seen(peer("box-5050", serial), now=NOW + timedelta(seconds=serial))
    (node,) = book.nodes()
    assert (node.serial, node.invited) == (25, False)
    assert len(list((tmp_path / "nodes").iterdir())) == 1


def test_revoking_a_name_refuses_every_certificate_it_had(book: NodeBook) -> None:
    for serial in (1, 2):
        book.issued(peer("box", serial))
    book.issued(peer("other", 3))
    book.seen(peer("box", 1), now=NOW)
    assert {node.serial for node in book.revoke("box")} == {1, 2}
    assert [book.is_revoked(serial) for serial in (1, 2, 3, 4)] == [True, True, False, False]
    assert [node.revoked for node in book.nodes()] == [True, False]
    book.revoke("box")  # twice is once


def test_a_new_ticket_of_a_revoked_name_is_good(book: NodeBook) -> None:
    book.issued(peer("box", 1))
    book.seen(peer("box", 1), now=NOW)
    book.revoke("box")
    book.issued(peer("box", 2))
    assert not book.is_revoked(2)
    assert [(node.serial, node.revoked) for node in book.nodes()] == [(2, False)]


def test_a_running_parent_learns_it_at_once_and_cannot_undo_it(book: NodeBook, tmp_path: Path) -> None:
    running = NodeBook(tmp_path / "nodes")
    running.seen(peer("box", 1), now=NOW)
    book.revoke("box")
    with pytest.raises(TrustError, match="box, which was revoked here: run marl invite box"):
        running.check(peer("box", 1))
    running.check(peer("box", 2))
    running.seen(peer("box", 1), now=NOW)
    running.seen(peer("box", 2), now=NOW)  # drops the entry of 1, as of any earlier start
    assert running.is_revoked(1)


def test_an_unknown_name_is_answered_with_the_known_ones(book: NodeBook) -> None:
    with pytest.raises(TrustError, match="none so far"):
        book.revoke("box")
    for name in ("b", "a"):
        book.issued(peer(name, ord(name)))
    with pytest.raises(TrustError, match="'c': the nodes are a, b"):
        book.revoke("c")


def test_what_cannot_be_found_out_is_not_let_in(book: NodeBook, tmp_path: Path) -> None:
    (tmp_path / "nodes").symlink_to("nodes")  # a loop: neither there nor missing
    with pytest.raises(TrustError, match="expected to look for"):
        book.is_revoked(1)


def test_entries_that_are_none_of_ours_are_passed_over(book: NodeBook, tmp_path: Path) -> None:
    book.issued(peer("box", 1))
    for name, content in (("2.json", b"{}"), ("3.json", b"\xff"), ("4.json", b"[1]"), ("notes.json", b"")):
        (tmp_path / "nodes" / name).write_bytes(content)
    assert [node.name for node in book.nodes()] == ["box"]


def test_a_folder_that_cannot_be_written_costs_the_entry_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    book = NodeBook(tmp_path / "file")
    book.seen(peer("box", 1), now=NOW)
    assert "node box is not written down" in caplog.text
    with pytest.raises(TrustError, match="expected to write"):
        book.issued(peer("box", 1))
