"""``marl nodes`` and ``marl revoke``."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from marl.trust.nodes import NodeBook
from marl.trust.tls.peers import Peer
from tests.cli.trust.answers import Command, fine, refused


def test_nodes_from_the_first_to_the_revoked(command: Command, home: Path) -> None:
    assert fine(command("nodes")).startswith("No nodes so far")
    assert json.loads(fine(command("nodes", "--json"))) == {"nodes": []}
    fine(command("keys", "init"))
    for name in ("gpu-box-3", "attic"):
        fine(command("invite", name))
    book = NodeBook(home / "nodes")
    invited = book.nodes()[1]
    book.seen(Peer(invited.name, invited.serial, invited.fingerprint, invited.expires))
    assert "attic" in (revoked := command("revoke", "attic")).out
    assert "Warning" not in revoked.err
    head, attic, box = fine(command("nodes")).splitlines()
    assert head.split()[:3] == ["name", "fingerprint", "expires"]
    assert attic.split()[0] == "attic"
    assert attic.split()[-3:] == ["never", "ticket", "revoked"]
    assert box.split()[:2] == ["gpu-box-3", invited.fingerprint[:16]]
    assert box.endswith("ticket   let in")
    listed = json.loads(fine(command("nodes", "--json")))["nodes"]
    assert [(node["name"], node["revoked"], node["invited"]) for node in listed] == [
        ("attic", True, True),
        ("gpu-box-3", False, True),
    ]
    assert listed[0]["last_seen"] is None
    assert listed[1]["serial"] == f"{invited.serial:x}"


def test_nodes_on_a_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fine(command("keys", "init"))
    fine(command("invite", "gpu-box-3"))
    monkeypatch.setattr("marl.cli.trust.nodes.sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    assert "gpu-box-3" in fine(command("nodes"))


def test_who_holds_the_key_cannot_be_revoked_for_good(command: Command, home: Path) -> None:
    fine(command("keys", "init"))
    NodeBook(home / "nodes").seen(Peer("box-5050", 7, "ab" * 32, datetime(2040, 1, 1, tzinfo=UTC)))
    answer = command("revoke", "box-5050")
    assert "Revoked box-5050" in fine(answer)
    assert "marl keys rotate --add" in answer.err


def test_an_unknown_node_is_answered_with_the_known_ones(command: Command) -> None:
    refused(command("revoke", "box"), "none so far")
