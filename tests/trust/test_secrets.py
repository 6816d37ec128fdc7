"""A canary key sings in no text that a person or a file may get to see."""

import base64
import copy
import logging
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from marl.errors import MarlError
from marl.trust.armour import wrap
from marl.trust.identity import identity_from_keys, identity_from_ticket
from marl.trust.invitations import invite, load_child_key, make_request, sign_request
from marl.trust.keys import create_keys, load_keys
from marl.trust.nodes import NodeBook
from marl.trust.rotation import rotate
from marl.trust.secret import Secret
from marl.trust.tickets import Ticket, parse_ticket, read_ticket

CANARY = b"canary-canary-canary-canary-cana"
LETTERS = base64.b32encode(CANARY).decode()
SONGS = [b"canary", CANARY.hex().encode()[:24], LETTERS[:24].encode(), LETTERS[16:40].encode(), b"PRIVATE KEY"]


def test_a_secret_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(CANARY)
    logging.getLogger("test").warning("%s %r", secret, [secret])
    _check_silent(f"{secret} {secret!r} {[secret]}")
    _check_silent(caplog.text)
    assert not hasattr(secret, "__dict__")


def test_a_secret_goes_to_no_other_process() -> None:
    for send in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="stays in the process"):
            send(Secret(CANARY))


def test_secrets_are_compared_and_not_hashed() -> None:
    assert Secret(CANARY) == Secret(CANARY) != Secret(CANARY[1:])
    assert Secret(CANARY) != CANARY
    with pytest.raises(TypeError, match="unhashable"):
        hash(Secret(CANARY))


def test_nothing_made_from_a_key_shows_it(tmp_path: Path) -> None:
    ring = load_keys(_key(tmp_path))
    line = invite(ring, NodeBook(tmp_path / "nodes"), "box")
    ticket = parse_ticket(line)
    assert isinstance(ticket, Ticket)
    _check_silent(repr((ring, line, ticket, identity_from_keys(ring, "parent", "desk"), identity_from_ticket(ticket))))
    assert ticket.seed is not None
    songs = [ticket.seed.reveal().hex().encode(), base64.b32encode(ticket.seed.reveal())[8:40]]
    for path in (tmp_path / "nodes").iterdir():
        assert not any(song in path.read_bytes() for song in [*SONGS, *songs])


def truncated(folder: Path) -> None:
    load_keys(_key(folder, keep=50))


def followed_by_garbage(folder: Path) -> None:
    load_keys(_key(folder, after=b"\nold \xff"))


def open_to_others(folder: Path) -> None:
    _key(folder).chmod(0o644)
    load_keys(folder / "cluster.key")


def too_long(folder: Path) -> None:
    load_keys(_key(folder, after=b"\n" * 5000))


def step_out_of_order(folder: Path) -> None:
    rotate(_key(folder), "drop")


def no_place_to_write(folder: Path) -> None:
    invite(load_keys(_key(folder)), NodeBook(_key(folder)), "box")


def as_a_ticket(folder: Path) -> None:
    read_ticket(_key(folder))


def as_a_request(folder: Path) -> None:
    sign_request(load_keys(_key(folder)), NodeBook(folder), wrap("key", Secret(CANARY)), "box")


def as_a_childs_key(folder: Path) -> None:
    load_child_key(_key(folder))


def bad_name(folder: Path) -> None:
    identity_from_keys(load_keys(_key(folder)), "child", "No Name")


@pytest.mark.parametrize(
    "fail",
    [
        truncated,
        followed_by_garbage,
        open_to_others,
        too_long,
        step_out_of_order,
        no_place_to_write,
        as_a_ticket,
        as_a_request,
        as_a_childs_key,
        bad_name,
    ],
)
def test_no_traceback_shows_a_key(fail: Callable[[Path], None], tmp_path: Path) -> None:
    """Even one that prints the local variables of every frame, as some tools do."""
    with pytest.raises(MarlError) as caught:
        fail(tmp_path)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    _check_silent("".join(shown.format()))
    _check_silent(f"{caught.value!r} {caught.value.__context__!r}")


def test_files_hold_the_key_and_no_name_does(tmp_path: Path) -> None:
    create_keys(tmp_path / "cluster.key")
    make_request(tmp_path / "child.key")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["child.key", "cluster.key"]


def _check_silent(text: str) -> None:
    assert [song for song in SONGS if song in text.encode()] == []


def _key(folder: Path, *, keep: int | None = None, after: bytes = b"") -> Path:
    path = folder / "cluster.key"
    path.write_bytes(wrap("key", Secret(CANARY)).reveal()[:keep] + after)
    path.chmod(0o600)
    return path
