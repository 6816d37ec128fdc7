"""The socket under a link: bytes go straight to where they belong, and nowhere once nobody waits for them."""

import errno
import socket
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from marl.errors import LinkClosed, LinkTimeout
from marl.links.receive_queue import ReceiveQueue
from marl.links.websocket.loop import IOLoop
from marl.trust.identity import Identity
from marl.wire.header import Header
from marl.wire.message import Buffer, Kind, Message
from marl.wire.payload import Incoming, Outgoing
from marl.wire.receive_buffers import new_buffers
from tests.commands import until
from tests.links.pairs import WAIT_S, Background, Proxy, websocket_pair

MIB = 1024 * 1024


def upload(payload: bytes) -> Message:
    return Message(Kind.UPLOAD, "child:5050", arrays={"weights": payload})


def test_a_payload_is_read_into_its_buffer(
    io: IOLoop, parent: Identity, child: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the few parts that came before there was one."""
    copied = []
    put = Incoming.put

    def watch(incoming: Incoming, part: Buffer) -> None:
        if part is not incoming._lent:
            copied.append(len(part))
        put(incoming, part)

    monkeypatch.setattr(Incoming, "put", watch)
    payload = bytes(range(256)) * 4 * 1024 * 16
    with websocket_pair(io, parent, child) as (here, there):
        sending = Background(lambda: here.send(upload(payload)))
        came = there.recv(WAIT_S, new_buffers)
        sending.end()
    assert bytes(came.arrays["weights"].numpy()) == payload  # type: ignore[union-attr]
    assert sum(copied) <= 3 * MIB


def test_nothing_is_written_to_memory_that_nobody_waits_with(io: IOLoop, parent: Identity, child: Identity) -> None:
    memory = bytearray(16 * MIB)

    def buffers(header: Header) -> Mapping[str, memoryview]:
        return {"weights": memoryview(memory)}

    with Proxy(rate=8 * MIB) as proxy, websocket_pair(io, parent, child, proxy=proxy) as (here, there):
        sending = Background(lambda: here.send(upload(b"x" * len(memory))))
        receiving = Background(lambda: there.recv(WAIT_S, buffers))
        until(lambda: there.bytes_received > 3 * MIB)
        there.close()
        with pytest.raises(LinkClosed, match="this side closed the link"):
            receiving.end()
        memory[:] = bytes(len(memory))  # it may serve another child now
        with pytest.raises(LinkClosed):
            sending.end()
    assert not any(memory)


class Broken:
    """A socket that is found to be broken when something is sent."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, data: Buffer) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


async def break_socket(transport: Any) -> None:
    transport._sock = Broken(transport._sock)


@pytest.mark.parametrize("size", [0, MIB, 40 * MIB])
@pytest.mark.parametrize("waits", [False, True])
def test_a_break_that_the_sender_finds(size: int, waits: bool, io: IOLoop, parent: Identity, child: Identity) -> None:
    """Before it has waited, or while it waits: what has not left is not called sent."""
    with websocket_pair(io, parent, child) as (here, there):
        connection = here._connection
        if waits:
            sending = Background(lambda: here.send(upload(bytes(40 * MIB + size))))
            until(lambda: connection.paused)
        io.call(break_socket(connection.transport), WAIT_S)
        if not waits:
            sending = Background(lambda: here.send(upload(bytes(size))))
        with pytest.raises(LinkClosed, match="the connection broke"):
            there.recv(WAIT_S, new_buffers)
        with pytest.raises(LinkClosed, match=r"the connection broke \(Broken pipe\)"):
            sending.end()


def test_who_waits_no_longer_says_so_first() -> None:
    class Landing:
        is_done = False

        def room(self, size: int) -> memoryview:
            return memoryview(bytearray(size))

        def put(self, part: Buffer) -> None:
            raise AssertionError("nobody waits for it")

    given_up = threading.Event()
    receive_queue = ReceiveQueue(100, on_given_up=given_up.set)
    with pytest.raises(LinkTimeout):
        receive_queue.pour(Landing(), 0.01, lambda: 1e99)
    assert given_up.is_set()
    assert receive_queue.room(5) is None
    receive_queue.put(b"later")
    assert receive_queue.take(WAIT_S) == b"later"


def test_a_sender_keeps_no_copy(io: IOLoop, parent: Identity, child: Identity) -> None:
    """What waits to leave is a view of the array, and no more of it than a chunk."""
    payload = bytes(40 * MIB)
    with websocket_pair(io, parent, child) as (here, _):
        sending = Background(lambda: here.send(upload(payload)))
        until(lambda: here._connection.unsent() > 0)
        kept = list(here._connection.transport._unsent)  # type: ignore[attr-defined]
        assert sum(map(len, kept)) <= 256 * 1024
        assert all(piece.obj is payload for piece in kept if len(piece) > 16 * 1024)
        here.close()
        with pytest.raises(LinkClosed):
            sending.end()


def hold(io: IOLoop) -> threading.Event:
    """The loop's thread does nothing more until the event is set."""
    held, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        held.set()
        go_on.wait(WAIT_S)

    io.loop.call_soon_threadsafe(wait)
    assert held.wait(WAIT_S)
    return go_on


def test_short_messages_need_no_other_thread(io: IOLoop, parent: Identity, child: Identity) -> None:
    with websocket_pair(io, parent, child) as (here, there):
        go_on = hold(io)
        for number in range(10):
            here.send(upload(bytes([number]) * 40_000))
        go_on.set()
        for number in range(10):
            assert bytes(there.recv(WAIT_S, new_buffers).arrays["weights"].numpy()) == bytes([number]) * 40_000  # type: ignore[union-attr]


def test_what_does_not_leave_at_once_leaves_in_order(io: IOLoop, parent: Identity, child: Identity) -> None:
    """The system takes a part of a short message; what follows it waits its turn."""
    with Proxy() as proxy, websocket_pair(io, parent, child, proxy=proxy) as (here, there):
        proxy.freeze()
        go_on, sent = hold(io), list[int]()

        def send() -> None:
            for number in range(400):
                sent.append(number)
                here.send(upload(bytes([number % 256]) * 60_000))

        sending = Background(send)
        until(lambda: here._connection.unsent() > 0)
        go_on.set()
        until(lambda: here._connection.paused)
        proxy.thaw()
        for number in range(400):
            assert bytes(there.recv(WAIT_S, new_buffers).arrays["weights"].numpy()) == bytes([number % 256]) * 60_000  # type: ignore[union-attr]
        sending.end()
        assert not here._connection.paused
        there.send(upload(b"abc"))
        assert here.recv(WAIT_S, new_buffers).kind == Kind.UPLOAD


def test_nothing_follows_the_last_word(io: IOLoop, parent: Identity, child: Identity) -> None:
    with websocket_pair(io, parent, child) as (here, there):
        there.close()
        until(lambda: here.has_ended)
        with pytest.raises(LinkClosed, match="the other side closed the link"):
            here.send(upload(b"abc"))
        assert not here._connection.write_now([b"late"])


def test_short_messages_leave_at_once(io: IOLoop, parent: Identity, child: Identity) -> None:
    with websocket_pair(io, parent, child) as (here, there):
        sent = upload(b"abc")
        before = here.bytes_sent
        here.send(sent)
        parts = [Outgoing(sent).header, b"abc", Outgoing(sent).seal()]
        masks = 4 * len(parts)
        assert here.bytes_sent - before == sum(map(len, parts)) + masks + 2 * len(parts) + 2 * (len(parts[0]) > 125)
        assert there.recv(WAIT_S, new_buffers).arrays
