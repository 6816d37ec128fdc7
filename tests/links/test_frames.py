"""Our frames are the library's frames, however the stream is cut."""

import random

import pytest
from websockets.frames import Frame, Opcode

from marl.links.websocket.frames import frame_head, read_head
from marl.links.websocket.loop import IOLoop
from marl.trust.identity import Identity
from marl.wire.message import Kind, Message
from marl.wire.payload import CHUNK_BYTES, Outgoing
from marl.wire.receive_buffers import new_buffers
from tests.links.pairs import WAIT_S, websocket_pair

LENGTHS = [0, 1, 125, 126, 65535, 65536, CHUNK_BYTES]


@pytest.mark.parametrize("length", LENGTHS)
def test_heads_are_those_of_the_library(length: int) -> None:
    theirs = Frame(Opcode.BINARY, bytes(length)).serialize(mask=False)
    assert frame_head(length, masked=False) + bytes(length) == theirs
    masked = frame_head(length, masked=True)
    assert masked[:1] == theirs[:1]
    assert masked[1] == theirs[1] | 0x80
    assert masked[-4:] == bytes(4)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_a_head_is_read_when_it_is_whole(length: int, masked: bool) -> None:
    frame = Frame(Opcode.BINARY, bytes(length)).serialize(mask=masked)
    size = len(frame) - length
    for cut in range(size):
        assert read_head(memoryview(frame[:cut]), masked=masked) is None
    head = read_head(memoryview(frame), masked=masked)
    assert head is not None
    assert (head.is_chunk, head.num_bytes, head.length) == (True, size, length)
    assert len(head.mask) == (4 if masked else 0)


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Opcode.TEXT, b"a").serialize(mask=True),
        Frame(Opcode.BINARY, b"a", fin=False).serialize(mask=True),
        Frame(Opcode.CONT, b"a").serialize(mask=True),
        Frame(Opcode.PING, b"a").serialize(mask=True),
        Frame(Opcode.BINARY, bytes(CHUNK_BYTES + 1)).serialize(mask=True),
        Frame(Opcode.BINARY, b"abcdefg").serialize(mask=False),
        b"\xc2" + Frame(Opcode.BINARY, b"a").serialize(mask=True)[1:],
        b"\x82\xff" + b"\xff" * 12,
    ],
    ids=["text", "first of several", "further", "ping", "long", "not masked", "reserved bit", "too long"],
)
def test_other_frames_are_the_librarys(frame: bytes) -> None:
    head = read_head(memoryview(frame), masked=True)
    assert head is not None
    assert not head.is_chunk


@pytest.mark.parametrize("secure", [True, False])
def test_however_the_stream_is_cut(secure: bool, io: IOLoop, parent: Identity, child: Identity) -> None:
    """Frames with real masks, and pings between them, in pieces that fit nothing."""
    randomness = random.Random(1)
    payload = randomness.randbytes(3 * CHUNK_BYTES // 2)
    outgoing = Outgoing(Message(Kind.UPLOAD, "parent", arrays={"weights": payload}))
    stream = b""
    for part in [outgoing.header, *outgoing.chunks(), outgoing.seal()]:
        stream += Frame(Opcode.PING, b"here").serialize(mask=True)
        stream += Frame(Opcode.BINARY, part).serialize(mask=True)
    with websocket_pair(io, parent if secure else None, child if secure else None) as (here, there):
        write = here._connection.transport.write
        for _ in range(4):
            left = stream
            while left:
                size = randomness.choice([1, 2, 7, 20, 1000, 16384, 300_000])
                io.loop.call_soon_threadsafe(write, left[:size])
                left = left[size:]
            came = there.recv(WAIT_S, new_buffers)
            assert bytes(came.arrays["weights"].numpy()) == payload  # type: ignore[union-attr]
        here.send(Message(Kind.STOP, "parent"))
        assert there.recv(WAIT_S, new_buffers).kind == Kind.STOP
