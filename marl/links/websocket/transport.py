"""A connected socket as websockets wants it, with or without TLS.

asyncio's own TLS copies every byte three times more, between buffers in memory that a socket does not need, and hides
how much waits in them. Here OpenSSL works on the socket itself, and what comes is decrypted to where it belongs.
"""

import asyncio
import socket
import ssl
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from marl.links.websocket.loop import LINGER_S
from marl.wire.message import Buffer
from marl.wire.payload import CHUNK_BYTES

_PIECE_BYTES = 64 * 1024  # passed to TLS at once; on a slow network a sender that waits sees each leave
_ASKS_SYSTEM = sys.platform == "linux"  # what it holds; else a sleeper could not tell whether bytes come
_BUFFERS_AT_ONCE = 4  # then other connections have their turn
_WAKE_BYTES = 96 * 1024
RECORD_BYTES = 16 * 1024  # the most that TLS encrypts at once
_WAITS = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError, InterruptedError)


class Receiver(Protocol):
    """What a transport expects of its connection, beside the callbacks of ``asyncio.BufferedProtocol``."""

    def connection_made(self, transport: Any) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def get_buffer(self, sizehint: int) -> memoryview: ...
    def buffer_updated(self, nbytes: int) -> None: ...
    def eof_received(self) -> Any: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

    def part_received(self) -> None:
        """A part of a TLS record has come: nothing can be decrypted yet."""

    def num_expected(self) -> int:
        """Bytes that are sure to come, and of no use before."""

    def pause_received(self) -> None:
        """All that had arrived is read: the thread that waits for it may wake up."""


class SocketTransport(asyncio.Transport):
    """Keeps what cannot leave at once, without a copy: ``pause_writing`` says so, ``resume_writing`` that all has left.

    All of it but ``send_now`` runs in the loop's thread. A lock guards TLS, what waits to leave, and the end.
    """

    def __init__(self, sock: socket.socket, receiver: Receiver) -> None:
        """Take over ``sock``, connected and not blocking; TLS has shaken hands."""
        names = {"peername": sock.getpeername(), "sockname": sock.getsockname()}
        tls = sock if isinstance(sock, ssl.SSLSocket) else None
        super().__init__({"socket": sock, "certificate": tls and tls.getpeercert(True), **names})
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                # Else the system takes megabytes at once and then nothing for long: slow would look like stuck.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, CHUNK_BYTES)
        self._loop = asyncio.get_running_loop()
        self._sock, self._tls, self._receiver = sock, tls, receiver
        self._lock = threading.Lock()
        self._unsent: deque[Buffer] = deque()
        self._num_unsent = 0
        self.num_written = 0  # bytes that have left or wait to leave
        self._is_reading = self._is_closing = self._is_lost = False
        self._num_read = 0
        self._num_parts = 0  # reads that brought a part of a TLS record, and nothing whole
        self._wakes_at = 1
        self._has_ended = False  # the other side sends no more
        receiver.connection_made(self)
        self.resume_reading()

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return self._is_reading

    def pause_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._sock)

    def resume_reading(self) -> None:
        if not self._is_reading and not self._is_closing:
            self._is_reading = True
            self._loop.add_reader(self._sock, self._read)
            self._loop.call_soon(self._read)  # what TLS has decrypted, or less than was waited for, wakes nobody

    def write(self, data: Buffer) -> None:
        """Send ``data``, which stays as it is until all has left."""
        with self._lock:
            if self._is_closing or not len(data):
                return
            waits = bool(self._unsent)
            self._append(data)
        if not waits and not self._send():
            self._send_later()

    def send_now(self, data: Buffer, may: Callable[[], bool]) -> bool:
        """Send ``data`` in the calling thread, any one: no other has to wake up. What the system does not take at once
        leaves later; ``data`` stays as it is until then.

        Args:
            may: asked while nothing else is sent, whether this may be.

        Returns:
            Whether it has left or will; False where other data waits to leave, or nothing more leaves.
        """
        with self._lock:
            if self._unsent or self._is_closing or not may():
                return False
            self._append(data)
            try:
                if not self._give():
                    self._call(self._send_later)
            except OSError as error:
                self._call(self._lose, error)
                return False
            return True

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nothing more leaves
            self._loop.call_soon_threadsafe(function, *args)

    def _append(self, data: Buffer) -> None:
        view = memoryview(data)
        self._unsent.extend(view[start : start + _PIECE_BYTES] for start in range(0, len(view), _PIECE_BYTES))
        self._num_unsent += len(view)
        self.num_written += len(view)

    def _send_later(self) -> None:
        """As soon as the system takes more."""
        if self._unsent and not self._is_lost:
            self._loop.add_writer(self._sock, self._send_on)
            self._receiver.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self._num_unsent

    def num_unread(self) -> int:
        """Changes while bytes come of which nothing can be decrypted yet, or not enough to wake anybody."""
        if not _ASKS_SYSTEM or self._is_lost:
            return self._num_parts
        import fcntl  # not on every system
        import termios

        return self._num_parts + int.from_bytes(fcntl.ioctl(self._sock, termios.FIONREAD, bytes(4)), sys.byteorder)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There are none: a sender waits until all has left."""

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        """Send what was written, and wait a while until the other side hangs up.

        A socket that is closed with unread bytes makes some systems throw away what the other has not read yet.
        """
        with self._lock:
            if self._is_closing:
                return
            self._is_closing = True
            has_left = not self._unsent
        if has_left:
            self._hang_up()

    def abort(self) -> None:
        self._lose(None)

    def _read(self) -> None:
        before = self._num_read
        try:
            for _ in range(_BUFFERS_AT_ONCE):
                if not self._is_reading:
                    return
                if not self._fill():
                    self._end()
                    return
        except _WAITS:
            if self._num_read == before:
                self._num_parts += 1
                self._receiver.part_received()
            self._sleep_until(self._receiver.num_expected())
        except Exception as error:
            self._lose(error)
        else:
            self._loop.call_soon(self._read)
        finally:
            self._receiver.pause_received()

    def _fill(self) -> bool:
        """Fill one buffer, as far as that is possible now; False at the end of the stream."""
        if self._is_closing:  # what still comes is of no use to anybody
            return bool(self._sock.recv(_PIECE_BYTES))
        buffer, filled = self._receiver.get_buffer(-1), 0
        try:
            while filled < len(buffer):
                rest = buffer[filled:]
                with self._lock:  # of TLS this gives one record at most
                    count = self._sock.recv_into(rest) if self._tls is None else int(self._tls.read(len(rest), rest))
                if not count:
                    return False
                filled += count
        finally:
            if filled:
                self._num_read += filled
                self._receiver.buffer_updated(filled)
        return True

    def _sleep_until(self, num_expected: int) -> None:
        """Be woken when much of it can be read at once: each time costs as much as decrypting a record."""
        # Less than that may be left in the socket: the rest of a record that TLS has begun to read.
        wake_at = max(1, min(_WAKE_BYTES, num_expected - 2 * RECORD_BYTES))
        if wake_at != self._wakes_at and _ASKS_SYSTEM:
            self._wakes_at = wake_at
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wake_at)

    def _end(self) -> None:
        self._has_ended = True
        self.pause_reading()
        if self._is_closing:
            self._lose(None)
        elif not self._receiver.eof_received():
            self.close()

    def _send(self) -> bool:
        """Whether nothing waits: all has left, or it is lost."""
        try:
            with self._lock:
                return self._give()
        except OSError as error:
            self._lose(error)
        return True

    def _give(self) -> bool:
        """Whether the system has taken all. TLS wants the same piece again when no more is taken."""
        try:
            while self._unsent:
                piece = self._unsent[0]
                sent = self._sock.send(piece)
                self._num_unsent -= sent
                if sent < len(piece):
                    self._unsent[0] = piece[sent:]
                else:
                    self._unsent.popleft()
        except _WAITS:
            return False
        return True

    def _send_on(self) -> None:
        if not self._send() or self._is_lost:
            return
        self._loop.remove_writer(self._sock)
        self._receiver.resume_writing()
        if self._is_closing and not self._unsent:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._has_ended:
            self._lose(None)
            return
        with suppress(OSError, ValueError), self._lock:
            if self._tls is not None:
                self._tls.unwrap()  # says so, and would wait for the other side to say so too
        with suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_WR)
        if not self._is_reading:
            self._is_reading = True
            self._loop.add_reader(self._sock, self._read)
        self._loop.call_later(LINGER_S, self._lose, None)

    def _lose(self, error: Exception | None) -> None:
        with self._lock:
            if self._is_lost:
                return
            self._is_closing = self._is_lost = True
            self._unsent.clear()
            self._num_unsent = 0
        self.pause_reading()
        self._loop.remove_writer(self._sock)
        self._loop.call_soon(self._free, error)

    def _free(self, error: Exception | None) -> None:
        try:
            self._receiver.connection_lost(error)
        finally:
            self._sock.close()
