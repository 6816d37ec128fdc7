"""What only a link over a network can meet: silence, slowness, a break."""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress

import pytest

from marl.errors import LinkClosed, LinkTimeout, MessageRefused
from marl.links import message_parts
from marl.links.websocket import link as websocket
from marl.links.websocket.loop import IOLoop
from marl.trust.identity import Identity
from marl.wire.header import Header
from marl.wire.message import Kind, Message
from marl.wire.payload import CHUNK_BYTES, Outgoing
from marl.wire.protocol import PROTOCOL
from marl.wire.receive_buffers import new_buffers, no_buffers
from tests.commands import until
from tests.links.pairs import WAIT_S, Background, Proxy, websocket_pair

MIB = 1024 * 1024


def upload(size: int) -> Message:
    return Message(Kind.UPLOAD, "child:5050", 1, 2, 3, {"weights": bytes(size)}, {})


def test_who_is_at_the_other_end(io: IOLoop, parent: Identity, child: Identity) -> None:
    with websocket_pair(io, parent, child) as (here, there):
        assert here.peer is not None
        assert here.peer == "box-5050"
        assert there.peer is not None
        assert there.peer == "desk-1"
        assert here.address.startswith("127.0.0.1:")


def test_without_tls_nobody_has_a_name(io: IOLoop) -> None:
    with websocket_pair(io, None, None) as (here, there):
        assert here.peer is None
        assert there.peer is None
        here.send(upload(2 * CHUNK_BYTES + 1))
        assert there.recv(WAIT_S, new_buffers).kind == Kind.UPLOAD


def test_bytes_are_counted_and_the_protocol_is_said(io: IOLoop, parent: Identity, child: Identity) -> None:
    with websocket_pair(io, parent, child) as (here, there):
        sent, received = here.bytes_sent, there.bytes_received
        here.protocol = PROTOCOL
        seen: list[int] = []

        def buffers(header: Header) -> Mapping[str, memoryview]:
            seen.append(header.protocol)
            return new_buffers(header)

        here.send(upload(MIB))
        there.recv(WAIT_S, buffers)
        assert seen == [PROTOCOL]
        assert MIB < here.bytes_sent - sent < MIB + 1000
        assert MIB < there.bytes_received - received < MIB + 1000


def test_the_round_trip_is_measured(io: IOLoop, parent: Identity, child: Identity) -> None:
    with websocket_pair(io, parent, child, silence=0.3) as (here, there):
        until(lambda: here.round_trip is not None)
        assert here.round_trip is not None
        assert 0.0 < here.round_trip < 1.0
        assert there.round_trip is None


def test_a_quiet_link_stays_open(io: IOLoop, parent: Identity, child: Identity) -> None:
    """Both sides speak by themselves: the child not only when it is asked."""
    with websocket_pair(io, parent, child, silence=0.4) as (here, there):
        with pytest.raises(LinkTimeout):
            there.recv(1.2, no_buffers)
        here.send(upload(0))
        assert there.recv(WAIT_S, new_buffers).kind == Kind.UPLOAD


@pytest.mark.parametrize("listener", ["parent", "child"])
def test_a_silent_peer_is_given_up(listener: str, io: IOLoop, parent: Identity, child: Identity) -> None:
    with Proxy() as proxy, websocket_pair(io, parent, child, proxy=proxy, silence=0.5) as (here, there):
        link = here if listener == "parent" else there
        proxy.freeze()
        started = time.monotonic()
        with pytest.raises(LinkClosed, match=r"silent for 0.5 s: see whether it runs"):
            link.recv(WAIT_S, no_buffers)
        assert time.monotonic() - started < 5.0
        with pytest.raises(LinkClosed, match=r"silent for 0.5 s"):
            link.send(upload(0))


def test_who_does_not_read_hears_no_silence(io: IOLoop, parent: Identity, child: Identity) -> None:
    """A receiver that waits for a buffer takes no byte for longer than the limit, and that is its own doing."""
    with websocket_pair(io, parent, child, silence=0.3) as (here, there):
        waited = threading.Event()

        def buffers(header: Header) -> Mapping[str, memoryview]:
            until(lambda: there._connection.held_back)
            waited.wait(1.0)
            return new_buffers(header)

        sending = Background(lambda: here.send(upload(24 * MIB)))
        assert there.recv(WAIT_S, buffers).kind == Kind.UPLOAD
        sending.end()
        there.send(upload(1))
        assert here.recv(WAIT_S, new_buffers).kind == Kind.UPLOAD


@pytest.mark.parametrize("sender", ["parent", "child"])
def test_slow_is_not_dead(sender: str, io: IOLoop, parent: Identity, child: Identity) -> None:
    """A transfer that takes many times the limits, but never stands still."""
    with (
        Proxy(rate=2.5 * MIB) as proxy,
        websocket_pair(io, parent, child, proxy=proxy, silence=0.5, patience=0.5) as (here, there),
    ):
        source, sink = (here, there) if sender == "parent" else (there, here)
        started = time.monotonic()
        sending = Background(lambda: source.send(upload(6 * MIB)))
        sink.recv(WAIT_S, new_buffers)
        sending.end()
        assert time.monotonic() - started > 1.5  # or it proves nothing
        sink.send(upload(1))
        assert source.recv(WAIT_S, new_buffers).kind == Kind.UPLOAD


def test_who_asks_and_does_not_read_is_given_up(
    io: IOLoop, parent: Identity, child: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers to pings wait in memory, and no sender waits for them to leave."""
    monkeypatch.setattr(websocket, "MOST_UNSENT", MIB)
    with websocket_pair(io, parent, child, silence=0.3) as (here, there):
        io.loop.call_soon_threadsafe(here._connection.transport.pause_reading)
        until(lambda: not here._connection.transport.is_reading())

        def ping() -> None:
            for _ in range(100_000):
                there._connection.protocol.send_pong(bytes(125))
            there._connection.send_data()

        io.loop.call_soon_threadsafe(ping)
        with pytest.raises(LinkClosed, match="expected the other side to read what it asks for"):
            there.recv(WAIT_S, new_buffers)


def test_a_break_in_a_message_closes(io: IOLoop, parent: Identity, child: Identity) -> None:
    with Proxy(cut_after=MIB) as proxy, websocket_pair(io, parent, child, proxy=proxy) as (here, there):
        sending = Background(lambda: here.send(upload(40 * MIB)))
        with pytest.raises(LinkClosed, match="the connection broke"):
            there.recv(WAIT_S, new_buffers)
        with pytest.raises(LinkClosed, match="the connection broke"):
            sending.end()


def test_who_takes_nothing_stops_the_sender(io: IOLoop, parent: Identity, child: Identity) -> None:
    with websocket_pair(io, parent, child, patience=0.4) as (here, there):
        with pytest.raises(LinkTimeout, match=r"took no byte for 0.4 s"):
            here.send(upload(40 * MIB))
        with pytest.raises(LinkClosed, match=r"took no byte for 0.4 s"):
            here.send(upload(0))
        with pytest.raises(LinkClosed):
            there.recv(WAIT_S, new_buffers)


@pytest.mark.parametrize("sender", ["parent", "child"])
def test_who_makes_room_holds_the_sender_for_as_long(
    sender: str, io: IOLoop, parent: Identity, child: Identity
) -> None:
    """A wait for memory is told, so that many large uploads may queue for a few buffers."""
    with websocket_pair(io, parent, child, silence=0.3, patience=0.4) as (here, there):
        source, sink = (here, there) if sender == "parent" else (there, here)

        def buffers(header: Header) -> Mapping[str, memoryview]:
            until(lambda: source._connection.peer_makes_room)
            time.sleep(1.2)  # three times the patience
            return new_buffers(header)

        sending = Background(lambda: source.send(upload(40 * MIB)))
        assert sink.recv(WAIT_S, buffers).kind == Kind.UPLOAD
        sending.end()
        until(lambda: not source._connection.peer_makes_room)


def test_a_payload_in_drops_is_given_up(
    io: IOLoop, parent: Identity, child: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that come all the time, and too few of them to be worth the memory that waits for the rest."""
    monkeypatch.setattr(message_parts, "SLOWEST_RATE", 100 * MIB)
    with (
        Proxy(rate=2.5 * MIB) as proxy,
        websocket_pair(io, parent, child, proxy=proxy, patience=1.5) as (here, there),  # no pause is as long
    ):
        sending = Background(lambda: here.send(upload(40 * MIB)))
        with pytest.raises(LinkClosed, match=r"upload from child:5050: it comes too slowly"):
            there.recv(WAIT_S, new_buffers)
        with pytest.raises(LinkClosed, match="too slowly"):
            sending.end()


def test_what_dribbles_is_slow_and_not_silent(
    io: IOLoop, parent: Identity, child: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of TLS, of which nothing can be read before it is whole, takes longer than silence may last."""
    monkeypatch.setattr(message_parts, "SLOWEST_RATE", MIB)
    with (
        Proxy(rate=20_000, most=400) as proxy,
        websocket_pair(io, parent, child, proxy=proxy, silence=0.3, patience=0.5) as (here, there),
    ):
        sending = Background(lambda: there.send(upload(MIB // 16)))
        with pytest.raises(LinkClosed, match="it comes too slowly"):
            here.recv(WAIT_S, new_buffers)
        here.close()
        with suppress(LinkClosed):
            sending.end()


def test_a_message_that_stops_in_the_middle_is_given_up(io: IOLoop, parent: Identity, child: Identity) -> None:
    with Proxy() as proxy, websocket_pair(io, parent, child, proxy=proxy, patience=0.3) as (here, there):

        def buffers(header: Header) -> Mapping[str, memoryview]:
            proxy.freeze()
            return new_buffers(header)

        sending = Background(lambda: here.send(upload(40 * MIB)))
        with pytest.raises(LinkClosed, match=r"upload from child:5050: .*within 0.3 s"):
            there.recv(WAIT_S, buffers)
        with pytest.raises((LinkTimeout, LinkClosed)):
            sending.end()


def test_what_waits_to_leave_is_seen(io: IOLoop, parent: Identity, child: Identity) -> None:
    with websocket_pair(io, parent, child) as (here, _):
        sending = Background(lambda: here.send(upload(40 * MIB)))

        until(lambda: here._connection.unsent() > 0)
        here.close()
        with pytest.raises(LinkClosed):
            sending.end()


@pytest.mark.parametrize("frame", ["text", "fragments", "huge"])
def test_foreign_frames_close(frame: str, io: IOLoop, parent: Identity, child: Identity) -> None:
    with websocket_pair(io, parent, child) as (here, there):
        words = {"text": "hello", "fragments": [b"a", b"b"], "huge": bytes(CHUNK_BYTES + 1)}[frame]
        raw = Background(lambda: io.call(here._connection.send(words), WAIT_S))
        with pytest.raises(LinkClosed):
            there.recv(WAIT_S, new_buffers)
        with pytest.raises(LinkClosed, match=r"expected whole binary frames|exceeds limit"):
            here.recv(WAIT_S, new_buffers)
        raw.join(WAIT_S)


def test_a_part_that_is_none_closes(io: IOLoop, parent: Identity, child: Identity) -> None:
    """Empty parts, for ever, would be progress that leads nowhere."""
    with websocket_pair(io, parent, child) as (here, there):
        begun = threading.Event()

        def buffers(header: Header) -> Mapping[str, memoryview]:
            begun.set()
            return new_buffers(header)

        receiving = Background(lambda: there.recv(WAIT_S, buffers))
        io.call(here._connection.send(Outgoing(upload(5)).header), WAIT_S)
        assert begun.wait(WAIT_S)
        io.call(here._connection.send(b""), WAIT_S)
        with pytest.raises(LinkClosed, match="expected a part of 1 to 5 bytes, got 0"):
            receiving.end()


def test_a_malformed_header_closes(io: IOLoop, parent: Identity, child: Identity) -> None:
    with websocket_pair(io, parent, child) as (here, there):
        io.call(here._connection.send(b"\xc1 no header"), WAIT_S)
        with pytest.raises(MessageRefused, match="malformed header"):
            there.recv(WAIT_S, new_buffers)
        with pytest.raises(LinkClosed, match="malformed header"):
            here.recv(WAIT_S, new_buffers)


def test_the_end_of_the_loop_ends_its_links(parent: Identity, child: Identity) -> None:
    with IOLoop() as io, websocket_pair(io, parent, child) as (here, there):
        receiving = Background(lambda: there.recv(WAIT_S, new_buffers))
        io.close()
        with pytest.raises(LinkClosed, match="closed the link"):
            receiving.end()
        for link in (here, there):
            with pytest.raises(LinkClosed):
                link.send(upload(0))
    assert io.loop.is_closed()
