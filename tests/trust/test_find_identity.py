"""One call a side: options first, then the user's folder, and on loopback a key of its own."""

import logging
import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from marl.errors import ConfigError, KeyFileError, MarlError, TicketError
from marl.trust.find_identity import TrustOptions, child_identity, parent_identity, watched_file
from marl.trust.identity import Identity
from marl.trust.invitations import child_key_path, invite, make_request, sign_request
from marl.trust.keys import KeyRing, create_keys, key_path, load_keys
from marl.trust.names import check_name, host_id
from marl.trust.nodes import NodeBook
from marl.trust.rotation import FileWatch, rotate
from marl.trust.secret import Secret
from marl.trust.tickets import ticket_path
from marl.trust.tls.contexts import client_context, server_context
from tests.trust.company import Company
from tests.trust.tls import Handshake, handshake

NOTHING = TrustOptions()
FILE = Path("file")
LAN = "10.0.0.7"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """The folder of another machine."""
    return tmp_path / "far"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"insecure": True, "key": FILE}, "expected --insecure alone, got --key beside it"),
        ({"insecure": True, "ticket": FILE}, "expected --insecure alone, got --ticket"),
        (
            {"insecure": True, "cert": FILE, "key": FILE, "ca": FILE},
            "expected --insecure alone, got --key, --cert, --ca",
        ),
        ({"ticket": FILE, "key": FILE}, "expected --ticket alone, got --key beside it"),
        ({"ticket": FILE, "allow_names": ("a",)}, "expected --ticket alone, got --allow-name"),
        ({"cert": FILE}, "expected --cert, --key and --ca together, got --cert: add --key and --ca"),
        ({"cert": FILE, "key": FILE}, "got --key, --cert: add --ca"),
        ({"key": FILE, "ca": FILE}, "got --key, --ca: add --cert"),
        ({"key": FILE, "server_name": "a"}, "got --key, --server-name: add --cert and --ca"),
        ({"allow_names": ("a",)}, "got --allow-name: add --cert and --key and --ca"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrustOptions(**options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("child_first", [True, False])
def test_on_loopback_nothing_has_to_be_done(child_first: bool, home: Path) -> None:
    if child_first:
        child, name = child_identity(NOTHING, home, host="127.0.0.1", port=5050)
        parent = parent_identity(NOTHING, home, loopback_only=True)
    else:
        parent = parent_identity(NOTHING, home, loopback_only=True)
        child, name = child_identity(NOTHING, home, host="localhost", port=5050)
    assert name == f"{host_id(home)}-5050"
    assert _meet(child, parent) == (name, f"{host_id(home)}-parent")
    assert key_path(home).stat().st_mode & 0o777 == 0o600
    check_name(f"{host_id(home)}-parent")


@pytest.mark.parametrize("host", [LAN, "0.0.0.0", "::", "", "gpu-box-3"])
def test_a_child_elsewhere_invents_no_key_and_says_what_to_run(host: str, home: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        child_identity(NOTHING, home, host=host, port=5050)
    for command in (
        "marl keys init",
        "marl invite NAME > NAME.ticket",
        f"marl child -ip {host} -p 5050 --ticket NAME.ticket",
    ):
        assert command in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not home.exists()


def test_a_parent_of_others_invents_no_key_and_says_what_to_run(home: Path) -> None:
    with pytest.raises(KeyFileError, match=r"nothing there: run marl keys init, then marl invite NAME"):
        parent_identity(NOTHING, home, loopback_only=False)
    assert not home.exists()


def test_a_parent_makes_no_key_that_would_hide_a_ticket(home: Path, ring: KeyRing, book: NodeBook) -> None:
    _write(ticket_path(home), invite(ring, book, "box"))
    with pytest.raises(KeyFileError, match=r"only a child's ticket beside it: run marl keys init"):
        parent_identity(NOTHING, home, loopback_only=True)
    assert not key_path(home).exists()


@pytest.mark.parametrize("named", [True, False])
def test_a_shared_key_serves_on_any_address(named: bool, home: Path, far: Path, tmp_path: Path) -> None:
    path = tmp_path / "shared.key" if named else key_path(home)
    create_keys(path)
    if not named:
        _write(key_path(far), Secret(path.read_bytes()))
    options = TrustOptions(key=path) if named else NOTHING
    child, name = child_identity(options, far, host=LAN, port=5050)
    assert _meet(child, parent_identity(options, home, loopback_only=False))[0] == name == f"{host_id(far)}-5050"
    assert key_path(far).exists() != named


@pytest.mark.parametrize("named", [True, False])
def test_a_ticket_serves_on_any_address(named: bool, home: Path, far: Path, tmp_path: Path) -> None:
    ring = create_keys(key_path(home))[0]
    path = tmp_path / "box.ticket" if named else ticket_path(far)
    _write(path, invite(ring, NodeBook(home / "nodes"), "gpu-box-3"))
    options = TrustOptions(ticket=path) if named else NOTHING
    for host in (LAN, "127.0.0.1"):
        child, name = child_identity(options, far, host=host, port=5050)
        assert name == "gpu-box-3"
        assert _meet(child, parent_identity(NOTHING, home, loopback_only=False))[0] == "gpu-box-3"
    assert not key_path(far).exists()


def test_a_ticket_without_a_key_is_joined_with_the_childs_own(home: Path, far: Path) -> None:
    ring = create_keys(key_path(home))[0]
    line = make_request(child_key_path(far)).encode()
    _write(ticket_path(far), sign_request(ring, NodeBook(home / "nodes"), Secret(line), "box"))
    child, name = child_identity(NOTHING, far, host=LAN, port=5050)
    assert _meet(child, parent_identity(NOTHING, home, loopback_only=False))[0] == name == "box"
    child_key_path(far).unlink()
    with pytest.raises(TicketError, match="got none: ask for a new ticket with what marl request prints"):
        child_identity(NOTHING, far, host=LAN, port=5050)


def test_of_a_key_and_a_ticket_the_key_is_used_and_that_is_said(
    home: Path, ring: KeyRing, book: NodeBook, caplog: pytest.LogCaptureFixture
) -> None:
    create_keys(key_path(home))
    _write(ticket_path(home), invite(ring, book, "box"))
    assert child_identity(NOTHING, home, host=LAN, port=5050)[1] == f"{host_id(home)}-5050"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"start with --ticket {ticket_path(home)}" in record.getMessage()
    assert child_identity(TrustOptions(ticket=ticket_path(home)), home, host=LAN, port=5050)[1] == "box"


def test_a_ticket_makes_no_parent(home: Path) -> None:
    create_keys(key_path(home))
    with pytest.raises(ConfigError, match="a ticket lets a machine be a child only"):
        parent_identity(TrustOptions(ticket=FILE), home, loopback_only=True)


def test_insecure_is_for_loopback_only(home: Path) -> None:
    insecure = TrustOptions(insecure=True)
    assert parent_identity(insecure, home, loopback_only=True) is None
    assert child_identity(insecure, home, host="::1", port=7) == (None, f"{host_id(home)}-7")
    with pytest.raises(ConfigError, match="only loopback addresses with --insecure"):
        parent_identity(insecure, home, loopback_only=False)
    for host in (LAN, "0.0.0.0", "::", ""):
        with pytest.raises(ConfigError, match=f"with --insecure, got {re.escape(host)}: .* leave --insecure out"):
            child_identity(insecure, home, host=host, port=7)
    assert not key_path(home).exists()


def test_an_own_authority_serves_both_sides(company: Company, home: Path) -> None:
    parent = parent_identity(_own(company, "desk.example", server_name="box.example"), home, loopback_only=False)
    options = _own(company, "box.example", allow_names=("desk.example",))
    child, name = child_identity(options, home, host=LAN, port=5050)
    assert _meet(child, parent) == (name, "desk.example")
    assert name == "box.example"
    assert not key_path(home).exists()
    with pytest.raises(ConfigError, match="expected --server-name at a parent"):
        child_identity(_own(company, "box.example", server_name="x"), home, host=LAN, port=5050)
    options.cert.write_bytes(b"nothing")
    with pytest.raises(MarlError, match="a text that is no PEM: name a PEM file after --cert"):
        child_identity(options, home, host=LAN, port=5050)
    options.cert.unlink()
    with pytest.raises(MarlError, match="No such file or directory: name a PEM file after --cert"):
        child_identity(options, home, host=LAN, port=5050)


def test_a_file_that_is_refused_is_never_passed_over(home: Path, far: Path, ring: KeyRing, book: NodeBook) -> None:
    """A child that went on without it would make a key, or use another one."""
    create_keys(key_path(home))
    key_path(home).chmod(0o644)
    key_path(far).parent.mkdir()
    key_path(far).symlink_to(far / "nowhere")
    for folder, says in ((home, "chmod 600"), (far, "symbolic link")):
        with pytest.raises(KeyFileError, match=says):
            child_identity(NOTHING, folder, host="127.0.0.1", port=5050)
        with pytest.raises(KeyFileError, match=says):
            parent_identity(NOTHING, folder, loopback_only=True)
    for options in (TrustOptions(key=FILE), TrustOptions(ticket=FILE)):
        with pytest.raises(KeyFileError, match="expected a file at file, got nothing there"):
            child_identity(options, home, host="127.0.0.1", port=5050)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyFileError, match="set MARL_HOME"):
        child_identity(NOTHING, tmp_path / "file" / "home", host="127.0.0.1", port=5050)
    with pytest.raises(KeyFileError, match="set MARL_HOME"):
        parent_identity(NOTHING, tmp_path / "file" / "home", loopback_only=True)


def test_a_running_node_follows_a_rotation(home: Path, far: Path) -> None:
    """The watched file says when to choose again; what is chosen then meets those who have gone on."""
    create_keys(key_path(home))
    path = watched_file(NOTHING, home, "child")
    assert path == watched_file(NOTHING, home, "parent") == key_path(home)
    watch = FileWatch(path)
    assert not watch.changed()
    for step in ("add", "use", "drop"):
        rotate(path, step)
        assert watch.changed()
        assert not watch.changed()
    child, _ = child_identity(NOTHING, home, host=LAN, port=5050)
    assert _meet(child, parent_identity(NOTHING, home, loopback_only=False))


def test_what_is_watched(home: Path, ring: KeyRing, book: NodeBook) -> None:
    assert watched_file(NOTHING, home, "child") == key_path(home)
    _write(ticket_path(home), invite(ring, book, "box"))
    assert watched_file(NOTHING, home, "child") == ticket_path(home)
    assert watched_file(NOTHING, home, "parent") == key_path(home)
    for options in (TrustOptions(key=FILE), TrustOptions(ticket=FILE)):
        assert watched_file(options, home, "child") == FILE
    for options in (TrustOptions(insecure=True), TrustOptions(cert=FILE, key=FILE, ca=FILE)):
        assert watched_file(options, home, "child") is watched_file(options, home, "parent") is None


def test_two_machines_with_keys_of_their_own_do_not_meet(home: Path, far: Path) -> None:
    child, _ = child_identity(NOTHING, far, host="127.0.0.1", port=5050)
    parent = parent_identity(NOTHING, home, loopback_only=True)
    assert not _handshake(child, parent).done
    assert load_keys(key_path(home)) != load_keys(key_path(far))


def _handshake(child: Identity | None, parent: Identity | None) -> Handshake:
    assert child is not None
    assert parent is not None
    return handshake(server_context(child), client_context(parent), parent.server_name)


def _meet(child: Identity | None, parent: Identity | None) -> tuple[str, str]:
    """By which names the two know each other: first the child's, then the parent's."""
    met = _handshake(child, parent)
    assert met.done
    assert child is not None
    assert parent is not None

    def certificate(side: ssl.SSLObject) -> bytes | None:
        return side.getpeercert(True)

    return (
        parent.read_peer(certificate(met.client)).node_id,
        child.read_peer(certificate(met.server)).node_id,
    )


def _own(company: Company, name: str, **more: Any) -> TrustOptions:
    files = company.issue(name)
    return TrustOptions(cert=files["certificate"], key=files["key"], ca=files["authority"], **more)


def _write(path: Path, content: Secret) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.reveal())
    path.chmod(0o600)
