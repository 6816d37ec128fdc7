"""A connection of the websockets library, for links: frames go to a receive queue, and bytes are signs of life."""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, State

from marl.links.receive_queue import ReceiveQueue
from marl.links.websocket.frames import apply_mask, frame_head, read_head
from marl.links.websocket.loop import LINGER_S
from marl.links.websocket.transport import RECORD_BYTES, SocketTransport
from marl.wire.message import Buffer
from marl.wire.payload import CHUNK_BYTES
from marl.words import printable

WRITE_LIMIT = 4 * CHUNK_BYTES  # a sender waits while more bytes than this have not left
_MAKING_ROOM = b"room"  # in a sign of life
_END_OF_HTTP = b"\r\n\r\n"
RECEIVE_QUEUE_BYTES = 4 * CHUNK_BYTES  # reading stops while more bytes than this have not been taken

# Faults reach people as errors of marl, in one line; the library's own words would come on top.
QUIET = logging.getLogger("marl.links.websockets")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False
QUIET.setLevel(logging.CRITICAL + 1)


class FrameConnection(Connection):
    """What both sides add to the library's connection. All of it but ``write_now`` runs in the loop's thread.

    Frames that are parts of messages are read and written here (see ``frames.py``). The library does the opening
    handshake, the control frames and the end; and everything, from the first thing on that is not as expected.
    """

    masks = False  # whether this side masks what it sends

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, ping_interval=None, close_timeout=LINGER_S, max_queue=None, write_limit=WRITE_LIMIT)
        self.receive_queue = ReceiveQueue(RECEIVE_QUEUE_BYTES, self._on_room, self._on_given_up)
        self.bytes_received = 0
        self.round_trip: float | None = None
        self.held_back = False  # reading has stopped, because nobody takes what is here
        self.peer_makes_room = False  # it has said that what is sent to it has to wait for memory
        self._probe: tuple[bytes, float] = (b"", 0.0)
        self._shaking_hands = True  # until the end of the other side's HTTP
        self._left_to_library = False
        self._head = b""  # the last bytes of HTTP
        # What comes is read to here, unless it is the rest of a frame.
        self._staging = memoryview(bytearray(RECORD_BYTES))
        self._staged = 0
        self._frame: memoryview | None = None
        self._filled = 0
        self._mask = b""

    async def write_frame(self, data: Buffer) -> None:
        """Send a part of a message, and wait while too much has not left. ``data`` is free again on return.

        Raises:
            ConnectionClosed: the connection has ended.
        """
        if self.protocol.state is not State.OPEN:
            await self.send(data)  # which waits for the end and raises
            return
        head = frame_head(len(data), masked=self.masks)
        # Together with the head the first bytes fill one TLS record, and all others lie in whole ones.
        start = memoryview(data)[: RECORD_BYTES - len(head)]
        self.transport.write(b"".join((head, start)))
        self.transport.write(memoryview(data)[len(start) :])
        await self._left()

    def write_now(self, parts: Sequence[Buffer]) -> bool:
        """Send short parts, in any thread: together they cost hardly more than one. False if they cannot leave now."""
        data = b"".join(piece for part in parts for piece in (frame_head(len(part), masked=self.masks), part))
        return self._transport().send_now(data, lambda: self.protocol.state is State.OPEN)

    async def _left(self) -> None:
        """Wait until what was written has left.

        Raises:
            ConnectionClosed: the connection has broken.
        """
        try:
            await self.drain()
            broken = self.connection_exc is not None
        except OSError:  # as the library wakes who waits here
            broken = True
        if broken:
            await self.send(b"")  # which raises

    def sign(self, *, probe: bool) -> None:
        """Send a few bytes, without waiting; a probe is answered, which measures the way there and back.

        They tell the other side whether what it sends has to wait until there is memory for it here.
        """
        word = _MAKING_ROOM if self.receive_queue.making_room else b""
        if probe:
            self._probe = (time.monotonic_ns().to_bytes(8) + word, time.monotonic())
            self.protocol.send_ping(self._probe[0])
        else:
            self.protocol.send_pong(word)
        self.send_data()

    def unsent(self) -> int:
        """Bytes that were written and are still in this process."""
        return self.transport.get_write_buffer_size()

    def num_unread(self) -> int:
        """Changes while bytes come that are not read yet."""
        return self._transport().num_unread()

    @property
    def bytes_sent(self) -> int:
        """Bytes of all frames, those that have not left included."""
        return self._transport().num_written

    def _transport(self) -> SocketTransport:
        assert isinstance(self.transport, SocketTransport)
        return self.transport

    def end(self) -> str:
        """How the connection ended, for people."""
        if self.protocol.close_rcvd is not None:
            reason = printable(self.protocol.close_rcvd.reason)
            return f"the other side closed the link{': ' + reason if reason else ''}"
        if self.protocol.close_sent is not None and self.protocol.close_sent.reason:
            return f"the link was closed: {self.protocol.close_sent.reason}"
        error = self.connection_exc or self.protocol.parser_exc
        cause = f" ({getattr(error, 'strerror', None) or error})" if isinstance(error, OSError) else ""
        return f"expected the other side to say that it ends, the connection broke{cause}: see whether it was killed"

    def resume(self) -> None:
        """Read on."""
        if self.held_back:
            self.held_back = False
            self.transport.resume_reading()

    def connection_made(self, transport: Any) -> None:
        # Not the next in line: on the listening side that would start a handler, and ours takes the connection later.
        Connection.connection_made(self, transport)

    def part_received(self) -> None:
        """On a slow network it takes longer than patience may last until a TLS record is whole."""
        self.receive_queue.note_growth()

    def pause_received(self) -> None:
        """Parts of a message that have come together wake up its receiver once."""
        self.receive_queue.wake()

    def num_expected(self) -> int:
        """Bytes that a frame still lacks."""
        return 0 if self._frame is None else len(self._frame) - self._filled

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._frame is not None:
            return self._frame[self._filled :]
        return self._staging[self._staged :]

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes_received += nbytes
        if self._frame is not None:
            self._filled += nbytes
            self.receive_queue.note_growth()
            self._finish_frame()
        else:
            self._staged += nbytes
            self._look()

    def _look(self) -> None:
        """Sort what was staged: HTTP, heads of frames, what follows them."""
        data = self._staging[: self._staged]
        if self._shaking_hands:
            data = self._shake_hands(data)
        while len(data) and self._frame is None and not self._left_to_library:
            head = read_head(data, masked=not self.masks)
            if head is None:
                break
            if head.is_chunk:
                data = data[head.num_bytes :]
                if head.length > 4 * RECORD_BYTES:
                    self.receive_queue.wake()  # it may find memory for this frame meanwhile
                self._frame = self.receive_queue.room(head.length) or memoryview(bytearray(head.length))
                self._filled, self._mask = 0, head.mask
                start = data[: head.length]
                self._frame[: len(start)] = start
                self._filled = len(start)
                data = data[len(start) :]
                self._finish_frame()
            elif head.length <= 125 and data[0] & 0x08:  # control: in one piece to the library
                size = head.num_bytes + head.length
                if len(data) < size:
                    break
                self.data_received(bytes(data[:size]))
                data = data[size:]
            else:
                self._left_to_library = True
        if self._left_to_library:
            self.data_received(bytes(data))
            self._staged = 0
            if self.protocol.reader.buffer:
                self.receive_queue.note_growth()
            return
        rest = bytes(data)
        self._staging[: len(rest)] = rest
        self._staged = len(rest)

    def _shake_hands(self, data: memoryview) -> memoryview:
        """Pass HTTP to the library; returns what follows it."""
        text = self._head + bytes(data)
        end = text.find(_END_OF_HTTP)
        if end < 0:
            self._head = text[-3:]
            self.data_received(bytes(data))
            return data[len(data) :]
        size = end + len(_END_OF_HTTP) - len(self._head)
        self._shaking_hands = False
        self.data_received(bytes(data[:size]))
        # A child answers a moment later; a parent that does not wait for it, or a refusal, is the library's.
        self._left_to_library = self.protocol.state is not State.OPEN and len(data) > size
        return data[size:]

    def _finish_frame(self) -> None:
        if self._frame is None or self._filled < len(self._frame):
            return
        data: Buffer = self._frame if not self._mask else apply_mask(self._frame, self._mask)
        self._frame = None
        self._put(data)

    def _put(self, data: Buffer) -> None:
        if not self.receive_queue.put(data, wakes=False) and not self.held_back:
            self.held_back = True
            self.transport.pause_reading()

    def eof_received(self) -> None:
        super().eof_received()
        if self.protocol.close_rcvd is None:
            # A break: asyncio would wait until the other side takes what is still to be sent.
            self.transport.abort()

    def process_event(self, event: Event) -> None:
        if not isinstance(event, Frame):
            super().process_event(event)  # of the opening handshake
        elif event.opcode is Opcode.BINARY and event.fin:
            self._put(event.data)
        elif event.opcode is Opcode.PING:  # which the library has answered
            self.peer_makes_room = bytes(event.data[8:]) == _MAKING_ROOM
        elif event.opcode is Opcode.PONG:
            data = bytes(event.data)
            if self._probe[0] and data == self._probe[0]:
                self.round_trip = time.monotonic() - self._probe[1]
            elif data in (b"", _MAKING_ROOM):
                self.peer_makes_room = data == _MAKING_ROOM
        elif event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT) and self.protocol.close_sent is None:
            self.protocol.fail(CloseCode.UNSUPPORTED_DATA, "expected whole binary frames")
            self.send_data()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # What came whole before can still be received.
        self.receive_queue.close(self.end(), discard=False)

    def _on_room(self) -> None:
        """In the thread that receives."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.resume)

    def _on_given_up(self) -> None:
        """In the thread that receives: what comes for it must not lie in its memory any more."""
        done = threading.Event()

        def move() -> None:
            if self._frame is not None:
                self._frame = memoryview(bytearray(len(self._frame)))
            done.set()

        with suppress(RuntimeError):  # a closed loop reads nothing
            self.loop.call_soon_threadsafe(move)
            while not done.wait(0.1) and self.loop.is_running():
                pass


class ParentConnection(FrameConnection, ClientConnection):
    """The side that connects."""

    masks = True


class ChildConnection(FrameConnection, ServerConnection):
    """The side that listens."""
