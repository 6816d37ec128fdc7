"""What a crowd costs: caps, limits of time, and what is said of it."""

import errno
import socket
import threading
from contextlib import suppress
from typing import Any

import pytest

from marl.errors import LinkClosed
from marl.links.client import connect
from marl.links.gate import Echoes, Gate
from marl.links.loop import IOLoop
from marl.links.server import Limits
from marl.trust.contexts import client_context
from marl.trust.identity import Identity
from tests.commands import until
from tests.links.doors import door, hangs_up
from tests.links.pairs import WAIT_S

SHORT = Limits(handshake_s=0.3)


@pytest.mark.parametrize("stage", ["tcp", "tls", "http", "plain http"])
def test_who_dawdles_is_dropped(stage: str, io: IOLoop, parent: Identity, child: Identity) -> None:
    identity = None if stage == "plain http" else child
    with door(io, identity, limits=SHORT) as opened, opened.knock() as raw:
        if stage == "tls":
            raw.sendall(b"\x16\x03\x01\x02\x00")
        elif stage == "plain http":
            raw.sendall(b"GET / HT")
        elif stage == "http":
            with client_context(parent).wrap_socket(raw, server_hostname=parent.server_name) as tls:
                tls.sendall(b"GET / HT")
                with suppress(OSError):
                    assert tls.recv(1) == b""
        if stage != "http":
            assert hangs_up(raw)
        assert "within 0.3 s, got none in full" in opened.line()


def test_the_oldest_of_too_many_is_dropped(io: IOLoop, parent: Identity, child: Identity) -> None:
    with (
        door(io, child, limits=Limits(handshake_s=WAIT_S, max_pending=2)) as opened,
        opened.knock() as first,
        opened.knock() as second,
    ):
        connect(io, "127.0.0.1", opened.server.port, parent).close()
        opened.links.get(timeout=WAIT_S)
        assert hangs_up(first)
        second.setblocking(False)
        with pytest.raises(BlockingIOError):
            second.recv(1)


def test_who_comes_alone_is_not_dropped_for_a_crowd(io: IOLoop, child: Identity) -> None:
    with (
        door(io, child, limits=Limits(handshake_s=WAIT_S, max_pending=2)) as opened,
        opened.knock() as alone,
        opened.knock("127.0.0.2") as first,
        opened.knock("127.0.0.2"),
    ):
        assert hangs_up(first)
        alone.setblocking(False)
        with pytest.raises(BlockingIOError):
            alone.recv(1)


def test_open_connections_have_a_limit(io: IOLoop, child: Identity) -> None:
    with (
        door(io, child, limits=Limits(handshake_s=WAIT_S, max_open=1)) as opened,
        opened.knock(),
        opened.knock() as second,
    ):
        assert hangs_up(second)
        assert "at most 1 connections" in opened.line()


def test_links_count_until_they_end(io: IOLoop, parent: Identity, child: Identity) -> None:
    with door(io, child, limits=Limits(max_open=1)) as opened:
        link = connect(io, "127.0.0.1", opened.server.port, parent)
        theirs = opened.links.get(timeout=WAIT_S)
        with opened.knock() as raw:
            assert hangs_up(raw)
        assert "at most 1 connections" in opened.line()
        link.close()
        with pytest.raises(LinkClosed):
            theirs.recv(WAIT_S, lambda header: {})
        until(lambda: opened.server._num_open == 0)
        connect(io, "127.0.0.1", opened.server.port, parent).close()
        opened.links.get(timeout=WAIT_S)


def test_one_address_comes_only_so_often(io: IOLoop, child: Identity) -> None:
    with (
        door(io, child, limits=Limits(burst=1, rate=0.001)) as opened,
        opened.knock() as first,
        opened.knock() as second,
    ):
        assert hangs_up(second)
        assert "connections a second, got more" in opened.line()
        first.setblocking(False)
        with pytest.raises(BlockingIOError):
            first.recv(1)


def test_the_gate_fills_again() -> None:
    now = [0.0]
    gate = Gate(2, 0.5, lambda: now[0])
    assert [gate.admits("a") for _ in range(3)] == [True, True, False]
    assert gate.admits("b")
    now[0] = 2.0
    assert [gate.admits("a") for _ in range(2)] == [True, False]
    for number in range(5000):
        gate.admits(str(number))
    assert len(gate._buckets) <= 4096


def test_a_thousand_knocks_are_one_line() -> None:
    now, told = [0.0], list[str]()
    say = Echoes(told.append, 5.0, lambda: now[0])
    for _ in range(1000):
        say("again")
    say("other")
    now[0] = 5.0
    say("again")
    assert told == ["again", "other", "again"]


def test_no_descriptors_left_is_no_end(
    io: IOLoop, parent: Identity, child: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, accept = threading.Event(), io.loop.sock_accept

    async def sock_accept(sock: socket.socket) -> Any:
        if not failed.is_set():
            failed.set()
            raise OSError(errno.EMFILE, "Too many open files")
        return await accept(sock)

    monkeypatch.setattr(io.loop, "sock_accept", sock_accept)
    with door(io, child) as opened:
        assert "Too many open files: raise ulimit" in opened.line()
        connect(io, "127.0.0.1", opened.server.port, parent).close()
        opened.links.get(timeout=WAIT_S)
