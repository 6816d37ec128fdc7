"""What every link does with the parts of a message: check them, put them into the receive buffers, hash them; skip what
is refused.
"""

import time
from collections.abc import Callable

from marl.errors import LinkClosed, LinkTimeout, MessageRefused
from marl.links.receive_queue import ReceiveQueue
from marl.wire.header import decode_header
from marl.wire.message import Buffer, Message
from marl.wire.payload import CHUNK_BYTES, Incoming, Outgoing, ReceiveBuffers

SLOWEST_RATE = 8 * 1024  # bytes a second of a payload, after ``patience`` seconds


def outgoing_within(
    message: Message, digest: bytes | None, *, protocol: int, max_bytes: int, key: bytes | None = None
) -> Outgoing:
    """The parts of ``message``, if it may leave.

    Args:
        digest: of the payload, where it is known; of no use to a link that keys its digests.
        key: of the link's digests; None: it authenticates its bytes, or they never leave the machine.

    Raises:
        MessageRefused: it breaks a bound of the header, or is longer than was agreed.
    """
    return Outgoing(message, None if key else digest, protocol=protocol, max_bytes=max_bytes, key=key)


def receive(
    receive_queue: ReceiveQueue,
    timeout: float,
    buffers: ReceiveBuffers,
    *,
    max_bytes: int,
    patience: float,
    end: Callable[[str], None],
    key: bytes | None = None,
) -> Message:
    """The next message from ``receive_queue``, as ``Link.recv`` promises it.

    Args:
        max_bytes: the longest payload that was agreed on.
        patience: seconds without a byte after which a message that has begun is given up.
        end: closes the link and tells the other side why.
        key: see ``outgoing_within``.
    """
    first = receive_queue.begin(timeout)
    try:
        header = decode_header(first, max_bytes=max_bytes)
    except MessageRefused as error:
        end(str(error))
        raise
    # What is taken from here on comes at a rate that lets nobody hold memory for ever with a byte now and then.
    begun = time.monotonic()
    payload = _Payload(header.num_bytes)

    def latest() -> float:
        return begun + patience + (payload.come + CHUNK_BYTES) / SLOWEST_RATE

    try:
        receive_queue.making_room = True
        try:
            payload.incoming = Incoming(first, buffers, decoded=header, key=key)
        except MessageRefused as error:
            payload.refused = error  # what was announced still comes, and is skipped
        finally:
            receive_queue.making_room = False
            begun = time.monotonic()
        receive_queue.pour(payload, patience, latest)
        return payload.finish(lambda: receive_queue.take(patience, latest()))
    except (MessageRefused, LinkClosed):
        raise
    except (LinkTimeout, _OutOfStep) as error:
        why = f"{header.kind} from {header.sender}: {error}, so the link is closed"
        end(why)
        raise LinkClosed(why) from error
    except BaseException:  # of ``buffers``: half a message is still to come, and nobody would take it
        end("the receiver failed in the middle of a message")
        raise


class _OutOfStep(Exception):
    """The parts are not those that the header announced."""


class _Payload:
    """See ``Landing``: what comes after a header, in the thread that brings it, up to the seal."""

    def __init__(self, num_bytes: int) -> None:
        self.come = 0
        self.incoming: Incoming | None = None
        self.refused: MessageRefused | None = None
        self._num_bytes = num_bytes
        self._fault: _OutOfStep | None = None

    @property
    def is_done(self) -> bool:
        return self.come == self._num_bytes or self._fault is not None

    def room(self, size: int) -> memoryview | None:
        return None if self.incoming is None else self.incoming.room(size)

    def put(self, part: Buffer) -> None:
        if not 0 < len(part) <= self._num_bytes - self.come:
            left = self._num_bytes - self.come
            self._fault = _OutOfStep(f"expected a part of 1 to {left} bytes, got {len(part)}")
            return
        if self.incoming is not None:
            self.incoming.put(part)
        self.come += len(part)

    def finish(self, take_seal: Callable[[], Buffer]) -> Message:
        """The message, or why there is none.

        Raises:
            MessageRefused: by ``buffers`` or its seal.
            _OutOfStep: nobody knows where the next message begins.
        """
        if self._fault is not None:
            raise self._fault
        seal = take_seal()
        if self.incoming is None:
            raise self.refused or MessageRefused("there was no receive buffer")
        return self.incoming.finish(seal)
