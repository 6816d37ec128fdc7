"""What a crowd costs: caps, limits of time, and what is said of it."""

import errno
import socket
import ssl
import threading
from contextlib import suppress
from typing import Any

import pytest

from marl.errors import LinkClosed
from marl.links.websocket import server
from marl.links.websocket.client import connect
from marl.links.websocket.gate import Gate, origin
from marl.links.websocket.hello_limit import MAX_HELLO_BYTES
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.server import Limits
from marl.trust.identity import Identity
from marl.trust.tls.contexts import client_context
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


def test_a_house_is_one_origin() -> None:
    assert origin("10.0.0.7") == "10.0.0.7"
    assert origin("2001:db8::1") == origin("2001:db8::ffff:1") != origin("2001:db8:0:1::1")
    assert origin("fe80::1%eth0") == origin("fe80::2%eth1")
    assert origin("no address") == "no address"


def hello_of(size: int) -> bytes:
    """The beginning of a TLS handshake that will have so many bytes."""
    return b"\x16\x03\x01" + min(size, 16384).to_bytes(2) + b"\x01" + (size - 4).to_bytes(3) + bytes(100)


@pytest.mark.parametrize("size", [5000, 16384, 131_000])
def test_a_long_hello_is_refused_before_tls_takes_memory(
    size: int, io: IOLoop, child: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    with door(io, child) as opened, opened.knock() as raw:
        monkeypatch.setattr(opened.server, "_secure", None)
        raw.sendall(hello_of(size))
        assert "hello of at most 4096 bytes, got one of" in opened.line()
        assert hangs_up(raw)


def test_a_hello_may_come_in_pieces(io: IOLoop, parent: Identity, child: Identity) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(parent).wrap_bio(incoming, outgoing, server_hostname=parent.server_name)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    assert len(hello) < MAX_HELLO_BYTES // 2
    with door(io, child) as opened, opened.knock() as raw:
        for start in range(0, 12, 3):
            raw.sendall(hello[start : start + 3])
            threading.Event().wait(0.03)
        raw.sendall(hello[12:])
        assert raw.recv(1) == b"\x16"  # the server's turn


def test_after_a_crowd_its_memory_is_given_back(io: IOLoop, child: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back = threading.Event()
    monkeypatch.setattr(server, "CROWD", 3)
    monkeypatch.setattr(server, "give_back", given_back.set)
    with door(io, child) as opened:
        for number in range(3):
            assert not given_back.is_set()
            with opened.knock(f"127.0.0.{number + 2}") as raw:
                raw.sendall(hello_of(16384))
                assert hangs_up(raw)
        assert given_back.wait(WAIT_S)


def test_a_crowd_gets_few_lines(io: IOLoop, child: Identity) -> None:
    with door(io, child) as opened:
        for number in range(20):
            with opened.knock() as raw:
                raw.sendall(hello_of(5000 + number))  # a text of its own each time
                assert hangs_up(raw)
        until(lambda: not opened.server._pending)
        assert opened.lines.qsize() == 3


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
