"""The link that crosses networks: a WebSocket over TLS, with a blocking face for the thread that converses."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from marl.errors import LinkClosed, LinkTimeout
from marl.links.message_parts import outgoing_within, receive
from marl.links.websocket.connection import WRITE_LIMIT, FrameConnection, ParentConnection
from marl.links.websocket.loop import IOLoop
from marl.trust.tls.peers import Peer
from marl.wire.message import Message
from marl.wire.payload import Outgoing, ReceiveBuffers
from marl.wire.protocol import OLDEST_PROTOCOL

MOST_UNSENT = 4 * WRITE_LIMIT  # bytes: senders wait far below; only answers to pings come on top
SHORT_BYTES = 64 * 1024  # of a message that leaves in one piece, and at once


class WebSocketLink:
    """Keeps the promise of ``marl.wire.link.Link``; made by ``connect`` and ``Server``.

    - Header, chunks and seal of a message are one binary frame each. Reading stops while nobody asks for what is
      here, which holds the sender back; nothing but a few chunks lies between.
    - What is sent is hashed and encrypted in the loop's thread, but a short message in the one that sends; what came,
      hashed and copied in the one that receives.
    - Each side sends something at least every 1.5 s; a link on which no byte came for ``silence`` seconds is closed.
      The time in which this side did not read, or stood still itself, does not count.
    - A sender waits ``patience`` seconds for the other side to take on, and as long as it says that it makes room.
    """

    def __init__(
        self,
        io: IOLoop,
        connection: FrameConnection,
        *,
        address: str,
        node: Peer | None,
        silence: float,
        patience: float,
    ) -> None:
        """Take over an open connection; in the loop's thread.

        Args:
            silence: seconds without a byte after which the other side counts as gone.
            patience: seconds without progress after which a message that has begun is given up.
        """
        self.address = address
        self.node = node  # the other side, from its certificate; None with --insecure
        self.protocol = OLDEST_PROTOCOL  # of the headers sent; settable, when another was agreed on
        self._loop = io.loop
        self._connection = connection
        self._silence = silence
        self._patience = patience
        self._max_bytes = 0
        self._stop: asyncio.Future[None] = io.loop.create_future()
        # Guarded by the lock.
        self._lock = threading.Lock()
        self._why: str | None = None
        self._code = CloseCode.NORMAL_CLOSURE
        self._stuck = False
        self._sending: Future[None] | None = None
        io.adopt(self._watch(), self.close)

    @property
    def peer(self) -> str | None:
        """See ``Link``."""
        return None if self.node is None else self.node.node_id

    @property
    def has_ended(self) -> bool:
        """Whether it was closed, by either side."""
        return self._why is not None

    @property
    def bytes_sent(self) -> int:
        """Bytes of all frames sent, before encryption."""
        return self._connection.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Bytes of all frames received, after decryption."""
        return self._connection.bytes_received

    @property
    def round_trip(self) -> float | None:
        """Seconds to the other side and back, measured last; only the side that connected measures."""
        return self._connection.round_trip

    def limit(self, max_bytes: int) -> None:
        """Set the longest payload that this end sends or takes; before, only messages without arrays pass."""
        self._max_bytes = max_bytes

    def send(self, message: Message, digest: bytes | None = None) -> None:
        """See ``Link.send``."""
        outgoing = outgoing_within(message, digest, protocol=self.protocol, max_bytes=self._max_bytes)
        if outgoing.num_bytes <= SHORT_BYTES and self._send_now(outgoing):
            return
        sending = self._start(self._write(outgoing))
        try:
            while not _finished(sending):
                if self._why is not None:
                    sending.cancel()
        except (ConnectionClosed, CancelledError, asyncio.CancelledError) as error:
            why = self._why or self._say(self._connection.end())
            raise (LinkTimeout(why) if self._stuck else LinkClosed(why)) from error
        except BaseException:
            self._end("the sender failed in the middle of a message", CloseCode.INTERNAL_ERROR)
            raise

    def recv(self, timeout: float, buffers: ReceiveBuffers) -> Message:
        """See ``Link.recv``."""
        receive_queue = self._connection.receive_queue
        try:
            return receive(
                receive_queue, timeout, buffers, max_bytes=self._max_bytes, patience=self._patience, end=self._refuse
            )
        except LinkClosed as error:
            raise LinkClosed(self._why or self._say(str(error))) from error

    def close(self) -> None:
        """See ``Link.close``. What was sent still leaves, for which ``IOLoop.close`` waits two seconds."""
        self._end("this side closed the link")

    def _send_now(self, outgoing: Outgoing) -> bool:
        """Send a short message without the loop's thread; False if something is in the way."""
        with self._lock:
            if self._why is not None:
                raise LinkClosed(self._why)
        return self._connection.write_now([outgoing.header, *outgoing.chunks(), outgoing.seal()])

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> Future[None]:
        with self._lock:
            if self._why is not None:
                coroutine.close()
                raise LinkClosed(self._why)
            try:
                self._sending = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            except RuntimeError as error:
                coroutine.close()
                raise LinkClosed(self._say("the I/O loop is closed")) from error
            return self._sending

    async def _write(self, outgoing: Outgoing) -> None:
        await self._connection.write_frame(outgoing.header)
        for chunk in outgoing.chunks():  # hashed here: encryption reads them again while the processor has them at hand
            await self._connection.write_frame(chunk)
        await self._connection.write_frame(outgoing.seal())

    def _refuse(self, why: str) -> None:
        self._end(why, CloseCode.POLICY_VIOLATION)

    def _end(
        self,
        why: str,
        code: CloseCode = CloseCode.NORMAL_CLOSURE,
        *,
        stuck: bool = False,
        discard: bool = True,
    ) -> None:
        """Close for ``why``, from any thread; the first reason is the one that is told."""
        with self._lock:
            if self._why is not None:
                return
            self._why = self._say(why)
            self._code, self._stuck = code, stuck
            sending = self._sending
        self._connection.receive_queue.close(why, discard=discard)
        if sending is not None:
            sending.cancel()
        with suppress(RuntimeError):  # the loop is closed, and with it the connection
            self._loop.call_soon_threadsafe(self._stop.cancel)

    def _say(self, why: str) -> str:
        return why if why.startswith(self.address) else f"{self.address}: {why}"

    async def _watch(self) -> None:
        """Send signs of life, look for the other side's, and close what must be closed."""
        connection, lost = self._connection, self._connection.connection_lost_waiter
        tick = min(0.5, self._silence / 10)
        before = signed = self._loop.time()
        received, drained, silent, stuck = (-1, 0), -1, 0.0, 0.0
        while True:
            await asyncio.wait({lost, self._stop}, timeout=tick, return_when=asyncio.FIRST_COMPLETED)
            if lost.done() or self._stop.done():
                break
            now = self._loop.time()
            # A process that was stopped, or waited long for the processor, has not listened either.
            passed, before = min(now - before, 2 * tick), now

            came = connection.bytes_received, connection.num_unread()
            if connection.held_back or came != received:
                silent, received = 0.0, came
                if connection.num_expected():
                    connection.receive_queue.note_growth()
            else:
                silent += passed
            unsent = connection.unsent()
            left = connection.bytes_sent - unsent
            if not unsent or left != drained or connection.peer_makes_room:
                stuck, drained = 0.0, left
            else:
                stuck += passed

            if silent >= self._silence:
                self._end(
                    f"expected a sign of life, the other side was silent for {self._silence:g} s: "
                    "see whether it runs and the network between works",
                    CloseCode.ABNORMAL_CLOSURE,
                )
            elif unsent > MOST_UNSENT:
                self._end(f"expected the other side to read what it asks for, {unsent:,} bytes wait for it")
            elif stuck >= self._patience:
                self._end(
                    f"expected the other side to take what is sent, it took no byte for {self._patience:g} s",
                    CloseCode.ABNORMAL_CLOSURE,
                    stuck=True,
                )
            elif not unsent and now - signed >= 0.3 * self._silence - tick:
                signed = now
                connection.sign(probe=isinstance(connection, ParentConnection))
        await self._hang_up()

    async def _hang_up(self) -> None:
        """End the connection: with a last word, unless nobody listens."""
        connection = self._connection
        # Where nobody here has given a reason, the other side has gone; what came whole before can still be received.
        self._end(connection.end(), discard=False)
        with suppress(asyncio.CancelledError):
            if self._code is not CloseCode.ABNORMAL_CLOSURE:
                connection.resume()  # or the other side's last word would never be read
                reason = (self._why or "").removeprefix(f"{self.address}: ").encode()[:120].decode(errors="ignore")
                await connection.close(self._code, reason if self._code is not CloseCode.NORMAL_CLOSURE else "")
        connection.transport.abort()


def _finished(sending: Future[None]) -> bool:
    try:
        sending.result(1.0)
    except TimeoutError:
        return False
    return True
