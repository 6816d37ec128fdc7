"""Two ends of a link in one process: for tests, of marl and of what is built with it."""

from marl.errors import LinkClosed, LinkTimeout
from marl.links.message_parts import outgoing_within, receive
from marl.links.receive_queue import ReceiveQueue
from marl.wire.header import MAX_INT
from marl.wire.message import Buffer, Message
from marl.wire.payload import CHUNK_BYTES, ReceiveBuffers
from marl.wire.protocol import OLDEST_PROTOCOL


class CountedQueue(ReceiveQueue):
    """What is on its way to one end."""

    num_passed = 0  # bytes, so far

    def put_or_wait(self, part: Buffer, patience: float) -> None:
        """See ``ReceiveQueue``."""
        super().put_or_wait(part, patience)
        self.num_passed += len(part)


class MemoryLink:
    """A link to a thread of the same process. Every message becomes bytes on the way, as on a real one."""

    address = "this process"
    peer = round_trip = None

    def __init__(
        self,
        receive_queue: CountedQueue,
        send_queue: CountedQueue,
        *,
        max_bytes: int,
        patience: float,
        key: bytes | None = None,
    ) -> None:
        self.protocol = OLDEST_PROTOCOL
        self._receive_queue = receive_queue
        self._send_queue = send_queue
        self._max_bytes = max_bytes
        self._patience = patience
        self._key = key
        self._why: str | None = None

    @property
    def bytes_sent(self) -> int:
        """See ``Link``."""
        return self._send_queue.num_passed

    @property
    def bytes_received(self) -> int:
        """See ``Link``: those that wait here for a ``recv`` are among them."""
        return self._receive_queue.num_passed

    def limit(self, max_bytes: int) -> None:
        """Set the longest payload that this end sends or takes."""
        self._max_bytes = max_bytes

    def send(self, message: Message, digest: bytes | None = None) -> None:
        """See ``Link.send``."""
        limit, key = self._max_bytes, self._key
        outgoing = outgoing_within(message, digest, protocol=self.protocol, max_bytes=limit, key=key)
        try:
            self._send_queue.put_or_wait(outgoing.header, self._patience)
            for chunk in outgoing.chunks():
                self._send_queue.put_or_wait(bytes(chunk), self._patience)
            self._send_queue.put_or_wait(outgoing.seal(), self._patience)
        except LinkTimeout:
            self._end("the other side takes no more, so the link is closed")
            raise
        except LinkClosed as error:
            raise LinkClosed(self._why or str(error)) from error

    def recv(self, timeout: float, buffers: ReceiveBuffers) -> Message:
        """See ``Link.recv``."""
        limit, patience = self._max_bytes, self._patience
        return receive(
            self._receive_queue, timeout, buffers, max_bytes=limit, patience=patience, end=self._end, key=self._key
        )

    def close(self) -> None:
        """See ``Link.close``."""
        self._end("this side closed the link", theirs="the other side closed the link")

    def _end(self, why: str, theirs: str = "") -> None:
        self._why = self._why or why
        self._receive_queue.close(why, discard=True)
        self._send_queue.close(theirs or why, discard=False)  # what was sent before can still be received


def memory_pair(
    max_bytes: int = MAX_INT, capacity: int = 4 * CHUNK_BYTES, *, patience: float = 20.0, key: bytes | None = None
) -> tuple[MemoryLink, MemoryLink]:
    """Two connected ends.

        here, there = memory_pair()
        here.send(message)
        assert there.recv(timeout=1.0, buffers=new_buffers).info == message.info

    Args:
        max_bytes: the longest payload that either end sends or takes.
        capacity: bytes that may lie between the two before a sender is held back.
        patience: seconds without progress after which a message that has begun is given up.
        key: of the digests, see ``traffic_digest``: as on a link through a machine that may change what passes.
    """
    one, other = CountedQueue(capacity), CountedQueue(capacity)
    return (
        MemoryLink(one, other, max_bytes=max_bytes, patience=patience, key=key),
        MemoryLink(other, one, max_bytes=max_bytes, patience=patience, key=key),
    )
