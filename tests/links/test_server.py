"""Who comes in, who does not, and what both are told."""

import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from queue import Queue

import pytest

from marl.errors import ConfigError, LinkClosed, TrustError
from marl.links.websocket.client import connect
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.server import Server
from marl.trust.identity import Identity, identity_from_keys
from marl.trust.keys import KeyRing
from marl.trust.tls.explain import explain
from marl.wire.message import Kind, Message
from tests.links.doors import Recorder, door, hangs_up
from tests.links.pairs import WAIT_S, Background
from tests.trust.test_refusals import BAD_CLIENTS, BAD_SERVERS


@pytest.mark.parametrize(("client", "child_says", "parent_says"), BAD_CLIENTS)
def test_a_child_lets_no_stranger_in(
    client: Callable[[Identity, KeyRing, KeyRing], ssl.SSLContext],
    child_says: str,
    parent_says: str,
    io: IOLoop,
    parent: Identity,
    child: Identity,
    ring: KeyRing,
    other_ring: KeyRing,
) -> None:
    with door(io, child) as opened, opened.knock() as raw:

        def enter() -> None:
            with client(parent, ring, other_ring).wrap_socket(raw, server_hostname=parent.server_name) as tls:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                tls.recv(1)

        with pytest.raises(ssl.SSLError) as refused:
            enter()
        assert child_says in opened.line()
        assert parent_says in explain(refused.value, here="parent", peer="127.0.0.1").line


@pytest.mark.parametrize(("server", "parent_says", "child_says"), BAD_SERVERS)
def test_a_parent_speaks_to_no_stranger(
    server: Callable[[Identity, KeyRing, KeyRing], ssl.SSLContext],
    parent_says: str,
    child_says: str,
    io: IOLoop,
    parent: Identity,
    child: Identity,
    ring: KeyRing,
    other_ring: KeyRing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("marl.links.websocket.server.server_context", lambda identity: server(child, ring, other_ring))
    with door(io, child) as opened:
        with pytest.raises(TrustError, match=r"^127.0.0.1:\d+: expected .*, got ") as refused:
            connect(io, "127.0.0.1", opened.server.port, parent)
        assert parent_says in str(refused.value)
        assert child_says in opened.line()


@pytest.mark.parametrize("who", ["another cluster's", "a child's"])
def test_a_refused_parent_is_told_why(
    who: str, io: IOLoop, parent: Identity, child: Identity, other_ring: KeyRing
) -> None:
    """TLS 1.3: the client has finished when the server looks at its certificate."""
    shows = child.shows if who == "a child's" else identity_from_keys(other_ring, "parent", "desk-1").shows
    with door(io, child) as opened, pytest.raises(TrustError, match="accept this parent's certificate, got a refusal"):
        connect(io, "127.0.0.1", opened.server.port, parent._replace(shows=shows))


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", b"SSH-2.0-x\r\n", bytes(99)])
def test_plain_words_are_refused(words: bytes, io: IOLoop, child: Identity) -> None:
    with door(io, child) as opened, opened.knock() as raw:
        raw.sendall(words)
        assert hangs_up(raw)
        assert "got something else" in opened.line()


def test_both_must_speak_tls_or_neither(io: IOLoop, parent: Identity, child: Identity) -> None:
    with door(io, child) as opened, pytest.raises(LinkClosed, match="run with --insecure"):
        connect(io, "127.0.0.1", opened.server.port, None)
    with door(io, None) as opened, pytest.raises((LinkClosed, TrustError)):
        connect(io, "127.0.0.1", opened.server.port, parent)


def test_a_name_that_may_not_speak_is_refused(io: IOLoop, parent: Identity, child: Identity) -> None:
    picky = child._replace(own_pki=True, allow=("nobody",))
    with door(io, picky) as opened:
        with suppress(LinkClosed):
            connect(io, "127.0.0.1", opened.server.port, parent).recv(WAIT_S, lambda header: {})
        assert "expected nobody, got" in opened.line()


def test_no_web_page_comes_in(io: IOLoop) -> None:
    """Without TLS, a page in this machine's browser could connect to 127.0.0.1."""
    with door(io, None) as opened, opened.knock() as raw:
        raw.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Origin: http://example.org\r\n\r\n"
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 403")
        raw.close()
        assert "InvalidOrigin" in opened.line()


def test_another_identity_from_the_next_connection_on(
    io: IOLoop, parent: Identity, child: Identity, other_ring: KeyRing
) -> None:
    with door(io, child) as opened:
        connect(io, "127.0.0.1", opened.server.port, parent).close()
        opened.links.get(timeout=WAIT_S)
        opened.server.set_identity(identity_from_keys(other_ring, "child", "box-5050"))
        with pytest.raises(TrustError):
            connect(io, "127.0.0.1", opened.server.port, parent)
        connect(io, "127.0.0.1", opened.server.port, identity_from_keys(other_ring, "parent", "desk-1")).close()
        opened.links.get(timeout=WAIT_S)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_a_recording_of_who_was_let_in_opens_nothing(
    share: float, io: IOLoop, parent: Identity, child: Identity
) -> None:
    """The same bytes once more, all or some: the server's half of the key agreement is another each time (S4)."""
    with door(io, child) as opened:
        recorder = Recorder(opened.server.port)
        link = connect(io, "127.0.0.1", recorder.port, parent)
        there = opened.links.get(timeout=WAIT_S)
        link.limit(2**20)
        there.limit(2**20)
        link.send(Message(Kind.FLUSH, "desk-1"))
        assert there.recv(WAIT_S, lambda header: {}).kind is Kind.FLUSH
        link.close()
        there.close()
        recorder.join()
        with opened.knock() as raw:
            with suppress(OSError):
                raw.sendall(recorder.said[: int(share * len(recorder.said))])
                raw.shutdown(socket.SHUT_WR)
            assert hangs_up(raw)
        assert opened.line()


def test_a_fault_of_the_owner_closes_only_its_link(
    io: IOLoop, parent: Identity, child: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    def on_link(link: WebSocketLink) -> None:
        raise ZeroDivisionError

    with Server(io, "127.0.0.1", 0, child, on_link, lambda line: None) as server:
        for _ in range(2):
            with pytest.raises(LinkClosed, match="the other side closed"):
                connect(io, "127.0.0.1", server.port, parent).recv(WAIT_S, lambda header: {})
    assert "ended by a fault of marl" in caplog.text


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", ""])
def test_every_kind_of_address(host: str, io: IOLoop, parent: Identity, child: Identity) -> None:
    links: Queue[WebSocketLink] = Queue()
    try:
        server = Server(io, host, 0, child, links.put, lambda line: None)
    except ConfigError:
        if host == "::1":
            pytest.skip("no IPv6 here")
        raise
    with server:
        connect(io, host or "127.0.0.1", server.port, parent).close()
        assert links.get(timeout=WAIT_S).peer is not None


def test_where_one_cannot_listen(io: IOLoop, child: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    def listen(host: str, port: int, identity: Identity | None = child) -> None:
        Server(io, host, port, identity, lambda link: None, lambda line: None)

    with door(io, child) as opened, pytest.raises(ConfigError, match="is in use: end the program"):
        listen("127.0.0.1", opened.server.port)
    with pytest.raises(ConfigError, match="an address of this machine"):
        listen("192.0.2.1", 0)
    with pytest.raises(ConfigError, match="an address of this machine"):
        listen("no.such.name.invalid", 0)
    with pytest.raises(ConfigError, match="from 0 to 65535"):
        listen("127.0.0.1", 70000)
    with pytest.raises(ConfigError, match="with --insecure, got"):
        listen("0.0.0.0", 0, None)

    def bind(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(ConfigError, match="is not permitted: choose one above 1023"):
        listen("127.0.0.1", 443)


def test_where_nobody_answers(io: IOLoop, parent: Identity) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(LinkClosed, match=rf"127.0.0.1:{port}: expected an answer within 0.2 s, got none"):
            connect(io, "127.0.0.1", port, parent, timeout=0.2)
    with pytest.raises(LinkClosed, match=rf"127.0.0.1:{port}: .*got connection refused: start marl child"):
        connect(io, "127.0.0.1", port, parent)
    with pytest.raises(LinkClosed, match=r"expected an address of no.such.name.invalid.*check the name"):
        connect(io, "no.such.name.invalid", port, parent)
    with pytest.raises(ConfigError, match="expected a"):
        connect(io, "127.0.0.1", 70000, parent)
    with pytest.raises(ConfigError, match="expected a host"):
        connect(io, "a..b", port, parent)
    with pytest.raises(ConfigError, match="with --insecure, got"):
        connect(io, "192.0.2.1", port, None)


def test_nobody_sends_us_elsewhere(io: IOLoop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:

        def answer() -> None:
            sock, _ = elsewhere.accept()
            with sock:
                sock.recv(4096)
                sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

        answering = Background(answer)
        with pytest.raises(LinkClosed, match=r"expected a marl child, got .*302"):
            connect(io, "127.0.0.1", elsewhere.getsockname()[1], None)
        answering.end()


def test_the_library_says_nothing(
    io: IOLoop, parent: Identity, child: Identity, capfd: pytest.CaptureFixture[str]
) -> None:
    with door(io, child) as opened:
        for _ in range(2):
            with opened.knock() as raw:
                raw.sendall(bytes(99))
                assert hangs_up(raw)
        link = connect(io, "127.0.0.1", opened.server.port, parent)
        opened.links.get(timeout=WAIT_S)._connection.transport.abort()
        with pytest.raises(LinkClosed):
            link.recv(WAIT_S, lambda header: {})
    assert capfd.readouterr() == ("", "")
