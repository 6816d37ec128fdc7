"""The socket under a link: bytes go straight to where they belong, and nowhere once nobody waits for them."""

import threading
from collections.abc import Mapping

import pytest

from marl.errors import LinkClosed, LinkTimeout
from marl.links.receive_queue import ReceiveQueue
from marl.links.websocket.loop import IOLoop
from marl.trust.identity import Identity
from marl.wire.header import Header
from marl.wire.message import Buffer, Kind, Message
from marl.wire.payload import Incoming, Outgoing
from marl.wire.places import fresh
from tests.commands import until
from tests.links.pairs import WAIT_S, Background, Proxy, websocket_pair

MIB = 1024 * 1024


def upload(payload: bytes) -> Message:
    return Message(Kind.UPLOAD, "child:5050", arrays={"weights": payload})


def test_a_payload_is_read_to_its_place(
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
        came = there.recv(WAIT_S, fresh)
        sending.end()
    assert bytes(came.arrays["weights"].numpy()) == payload  # type: ignore[union-attr]
    assert sum(copied) <= 3 * MIB


def test_nothing_is_written_to_memory_that_nobody_waits_with(io: IOLoop, parent: Identity, child: Identity) -> None:
    memory = bytearray(16 * MIB)

    def place(header: Header) -> Mapping[str, memoryview]:
        return {"weights": memoryview(memory)}

    with Proxy(rate=8 * MIB) as proxy, websocket_pair(io, parent, child, proxy=proxy) as (here, there):
        sending = Background(lambda: here.send(upload(b"x" * len(memory))))
        receiving = Background(lambda: there.recv(WAIT_S, place))
        until(lambda: there.bytes_received > 3 * MIB)
        there.close()
        with pytest.raises(LinkClosed, match="this side closed the link"):
            receiving.end()
        memory[:] = bytes(len(memory))  # it may serve another child now
        with pytest.raises(LinkClosed):
            sending.end()
    assert not any(memory)


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


def test_short_messages_leave_at_once(io: IOLoop, parent: Identity, child: Identity) -> None:
    with websocket_pair(io, parent, child) as (here, there):
        sent = upload(b"abc")
        before = here.bytes_sent
        here.send(sent)
        parts = [Outgoing(sent).header, b"abc", Outgoing(sent).seal()]
        masks = 4 * len(parts)
        assert here.bytes_sent - before == sum(map(len, parts)) + masks + 2 * len(parts) + 2 * (len(parts[0]) > 125)
        assert there.recv(WAIT_S, fresh).arrays
