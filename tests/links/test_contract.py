"""What ``marl.wire.link`` promises, kept by every link."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor

from examples.own_link import SocketLink
from marl.errors import LinkClosed, LinkTimeout, MessageRefused
from marl.links.memory import memory_pair
from marl.links.websocket.loop import IOLoop
from marl.trust.identity import Identity
from marl.wire.arrays import bytes_of, digest_of
from marl.wire.header import Header
from marl.wire.link import Link
from marl.wire.message import Kind, Message
from marl.wire.payload import CHUNK_BYTES, Outgoing
from marl.wire.receive_buffers import buffers_of, new_buffers, no_buffers
from tests.links.pairs import WAIT_S, Background, own_pair, websocket_pair

MIB = 1024 * 1024


Pair = tuple[Link, Link]


@pytest.fixture(params=["memory", "memory, keyed", "websocket, parent sends", "websocket, child sends", "own"])
def pair(request: pytest.FixtureRequest, io: IOLoop, parent: Identity, child: Identity) -> Iterator[Pair]:
    if "memory" in request.param:
        yield memory_pair(key=bytes(range(32)) if "keyed" in request.param else None)
        return
    if request.param == "own":
        with own_pair() as both:
            yield both
        return
    with websocket_pair(io, parent, child) as (here, there):
        yield (here, there) if "parent sends" in request.param else (there, here)


def upload(size: int, counter: int = 0) -> Message:
    generator = torch.Generator().manual_seed(size)
    weights = torch.randint(0, 256, (size,), dtype=torch.uint8, generator=generator)
    return Message(Kind.UPLOAD, "child:5050", 1, 2, counter, {"weights": weights}, {"work": 640})


def weights_of(message: Message) -> Tensor:
    weights = message.arrays["weights"]
    assert isinstance(weights, Tensor)
    return weights


def never(header: Header) -> Mapping[str, memoryview]:
    raise AssertionError("asked for memory")


class TestContract:
    @pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * MIB])
    def test_a_message_arrives_whole(self, pair: Pair, size: int) -> None:
        here, there = pair
        sent, scratch = upload(size), torch.zeros(size, dtype=torch.uint8)
        sending = Background(lambda: here.send(sent))
        came = there.recv(WAIT_S, buffers_of({"weights": scratch}))
        sending.end()
        assert came[:5] == sent[:5]
        assert came.info == sent.info
        assert torch.equal(scratch, weights_of(sent))
        assert weights_of(came).data_ptr() == scratch.data_ptr()

    def test_bytes_are_counted_and_the_other_side_has_an_address(self, pair: Pair) -> None:
        here, there = pair
        assert here.address
        assert there.address
        sent, came = here.bytes_sent, there.bytes_received
        sending = Background(lambda: here.send(upload(MIB)))
        there.recv(WAIT_S, new_buffers)
        sending.end()
        assert MIB < here.bytes_sent - sent < MIB + 2000
        assert MIB < there.bytes_received - came < MIB + 2000
        assert there.round_trip is None or there.round_trip > 0

    def test_messages_come_in_order(self, pair: Pair) -> None:
        here, there = pair
        sizes = [0, 3, 0, CHUNK_BYTES, 7] * 8
        sending = Background(lambda: [here.send(upload(size, counter)) for counter, size in enumerate(sizes)])
        for counter, size in enumerate(sizes):
            came = there.recv(WAIT_S, new_buffers)
            assert came.counter == counter
            assert torch.equal(weights_of(came), weights_of(upload(size)))
        sending.end()

    def test_several_arrays(self, pair: Pair) -> None:
        here, there = pair
        arrays = {"first": torch.arange(5.0), "none": torch.empty(0), "last": b"abc"}
        here.send(Message(Kind.ANSWER, "parent", arrays=arrays))
        came = there.recv(WAIT_S, new_buffers)
        assert {name: bytes(bytes_of(array)) for name, array in came.arrays.items()} == {
            name: bytes(bytes_of(array)) for name, array in arrays.items()
        }

    def test_arrays_are_free_after_send(self, pair: Pair) -> None:
        here, there = pair
        sent = upload(CHUNK_BYTES)
        expected = weights_of(sent).clone()
        here.send(sent)
        weights_of(sent).zero_()
        assert torch.equal(weights_of(there.recv(WAIT_S, new_buffers)), expected)

    @pytest.mark.parametrize("size", [5, 5 * MIB])
    def test_a_refused_buffer_leaves_the_link_usable(self, pair: Pair, size: int) -> None:
        here, there = pair
        sending = Background(lambda: [here.send(upload(size)), here.send(upload(3, 1))])
        with pytest.raises(MessageRefused, match="expected no arrays, got weights"):
            there.recv(WAIT_S, no_buffers)
        assert there.recv(WAIT_S, new_buffers).counter == 1
        sending.end()
        there.send(upload(3, 2))
        assert here.recv(WAIT_S, new_buffers).counter == 2

    @pytest.mark.parametrize("size", [0, 5, MIB])
    def test_a_damaged_message_leaves_the_link_usable(
        self, pair: Pair, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here, there = pair
        with monkeypatch.context() as patch:
            patch.setattr(Outgoing, "seal", lambda self: bytes(32))
            sending = Background(lambda: here.send(upload(size)))
            with pytest.raises(MessageRefused, match="the hash differs"):
                there.recv(WAIT_S, new_buffers)
            sending.end()
        here.send(upload(3, 1))
        assert there.recv(WAIT_S, new_buffers).counter == 1

    def test_a_payload_beyond_the_limit_is_refused_before_there_is_memory(self, pair: Pair) -> None:
        here, there = pair
        there.limit(99)
        sending = Background(lambda: here.send(upload(100)))
        with pytest.raises(MessageRefused, match="at most 99 bytes, got 100"):
            there.recv(WAIT_S, never)
        # Nobody knows where the next message would begin.
        with pytest.raises(LinkClosed):
            there.recv(WAIT_S, new_buffers)
        with suppress(LinkClosed):  # the end may come before the last of it has left
            sending.end()
        told = "the other side closed" if isinstance(here, SocketLink) else "at most 99 bytes"  # why: no promise
        with pytest.raises(LinkClosed, match=told):
            here.recv(WAIT_S, new_buffers)

    def test_nothing_beyond_the_limit_is_sent(self, pair: Pair) -> None:
        here, there = pair
        here.limit(99)
        with pytest.raises(MessageRefused, match="at most 99 bytes, got 100"):
            here.send(upload(100))
        with pytest.raises(MessageRefused, match="finite"):
            here.send(Message(Kind.TELEMETRY, "child", info={"loss": float("nan")}))
        here.send(upload(99, 1))
        assert there.recv(WAIT_S, new_buffers).counter == 1

    def test_a_digest_that_is_known_is_used(self, pair: Pair) -> None:
        here, there = pair
        sent = upload(1000)
        here.send(sent, digest_of(sent.arrays))
        assert there.recv(WAIT_S, new_buffers).info == sent.info
        if getattr(here, "_key", None):  # it makes its own
            here.send(sent, bytes(16))
            assert there.recv(WAIT_S, new_buffers).info == sent.info
            return
        here.send(sent, bytes(16))
        with pytest.raises(MessageRefused, match="the hash differs"):
            there.recv(WAIT_S, new_buffers)

    def test_a_timeout_leaves_the_link_open(self, pair: Pair) -> None:
        here, there = pair
        for timeout in (0.0, 0.02):
            with pytest.raises(LinkTimeout, match=f"within {timeout:g} s"):
                there.recv(timeout, new_buffers)
        here.send(upload(3))
        assert there.recv(WAIT_S, new_buffers).info

    @pytest.mark.parametrize("who", ["this side", "the other side"])
    def test_close_ends_a_waiting_recv(self, pair: Pair, who: str) -> None:
        here, there = pair
        receiving = Background(lambda: there.recv(WAIT_S, new_buffers))
        (there if who == "this side" else here).close()
        with pytest.raises(LinkClosed, match=f"{who} closed the link"):
            receiving.end()

    @pytest.mark.parametrize("who", ["this side", "the other side"])
    def test_close_ends_a_waiting_send(self, pair: Pair, who: str) -> None:
        here, there = pair
        begun = threading.Event()

        def send() -> None:
            here.send(upload(0))
            begun.set()
            here.send(upload(40 * MIB))

        sending = Background(send)
        assert begun.wait(WAIT_S)
        (here if who == "this side" else there).close()
        with pytest.raises(LinkClosed):
            sending.end()

    def test_a_closed_link_stays_closed(self, pair: Pair) -> None:
        here, there = pair
        there.close()
        there.close()
        with pytest.raises(LinkClosed, match="this side closed"):
            there.send(upload(0))
        with pytest.raises(LinkClosed, match="this side closed"):
            there.recv(0.0, new_buffers)
        with pytest.raises(LinkClosed, match="the other side closed"):
            here.recv(WAIT_S, new_buffers)
        with pytest.raises(LinkClosed, match="the other side closed"):
            here.send(upload(0))

    def test_last_words_are_heard(self, pair: Pair) -> None:
        here, there = pair
        here.send(upload(CHUNK_BYTES, 7))
        here.send(upload(0, 8))
        here.close()
        assert there.recv(WAIT_S, new_buffers).counter == 7
        assert there.recv(WAIT_S, new_buffers).counter == 8
        with pytest.raises(LinkClosed, match="the other side closed"):
            there.recv(WAIT_S, new_buffers)

    def test_a_sender_is_held_back(self, pair: Pair) -> None:
        here, there = pair
        asked, go = threading.Event(), threading.Event()

        def buffers(header: Header) -> Mapping[str, memoryview]:
            asked.set()
            assert go.wait(WAIT_S)
            return new_buffers(header)

        sent = upload(40 * MIB)
        sending = Background(lambda: here.send(sent))
        receiving = Background(lambda: there.recv(WAIT_S, buffers))
        assert asked.wait(WAIT_S)
        sending.join(0.2)
        assert sending.is_alive()
        assert getattr(there, "bytes_received", 0) < 3 * MIB
        go.set()
        sending.end()
        receiving.end()

    def test_a_fault_of_buffers_is_the_callers(self, pair: Pair) -> None:
        here, there = pair
        here.send(upload(3))
        with pytest.raises(AssertionError, match="asked for memory"):
            there.recv(WAIT_S, never)
        with pytest.raises(LinkClosed, match="in the middle of a message"):
            there.recv(WAIT_S, new_buffers)

    def test_both_directions_at_once(self, pair: Pair) -> None:
        def converse(link: Any) -> None:
            sending = Background(lambda: [link.send(upload(2 * MIB, counter)) for counter in range(6)])
            assert [link.recv(WAIT_S, new_buffers).counter for _ in range(6)] == list(range(6))
            sending.end()

        both = [Background(lambda link=link: converse(link)) for link in pair]
        for each in both:
            each.end()


def test_only_messages_without_arrays_pass_before_the_handshake(io: IOLoop, parent: Identity, child: Identity) -> None:
    with websocket_pair(io, parent, child, max_bytes=0) as (here, there):
        here.send(upload(0))
        assert there.recv(WAIT_S, new_buffers).info
        with pytest.raises(MessageRefused, match="at most 0 bytes"):
            here.send(upload(1))


def test_memory_waits_for_who_makes_room() -> None:
    here, there = memory_pair(capacity=2 * CHUNK_BYTES, patience=0.05)

    def buffers(header: Header) -> Mapping[str, memoryview]:
        time.sleep(0.3)
        return new_buffers(header)

    sending = Background(lambda: here.send(upload(MIB)))
    assert there.recv(WAIT_S, buffers).kind == Kind.UPLOAD
    sending.end()


def test_memory_holds_no_more_than_its_capacity() -> None:
    here, there = memory_pair(capacity=2 * CHUNK_BYTES, patience=0.05)
    with pytest.raises(LinkTimeout, match="took none"):
        here.send(upload(MIB))
    for link in (here, there):
        with pytest.raises(LinkClosed):
            link.send(upload(0))
