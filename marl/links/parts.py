"""What every link does with the parts of a message: check them, place them, hash them; skip what is refused."""

import time
from collections.abc import Callable

from marl.errors import LinkClosed, LinkTimeout, MessageRefused
from marl.links.inbox import Inbox
from marl.wire.header import decode_header
from marl.wire.message import Buffer, Message
from marl.wire.payload import CHUNK_BYTES, Incoming, Outgoing, Place

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
    inbox: Inbox,
    timeout: float,
    place: Place,
    *,
    max_bytes: int,
    patience: float,
    end: Callable[[str], None],
    key: bytes | None = None,
) -> Message:
    """The next message from ``inbox``, as ``Link.recv`` promises it.

    Args:
        max_bytes: the longest payload that was agreed on.
        patience: seconds without a byte after which a message that has begun is given up.
        end: closes the link and tells the other side why.
        key: see ``outgoing_within``.
    """
    first = inbox.begin(timeout)
    try:
        header = decode_header(first, max_bytes=max_bytes)
    except MessageRefused as error:
        end(str(error))
        raise
    left = header.num_bytes
    # What is taken from here on comes at a rate that lets nobody hold memory for ever with a byte now and then.
    begun = time.monotonic()

    def take() -> Buffer:
        come = header.num_bytes - left + CHUNK_BYTES
        return inbox.take(patience, begun + patience + come / SLOWEST_RATE)

    try:
        try:
            inbox.making_room = True
            try:
                incoming = Incoming(first, place, decoded=header, key=key)
            finally:
                inbox.making_room = False
                begun = time.monotonic()
            while left:
                part = take()
                left -= _length(len(part), left)
                incoming.put(part)
        except MessageRefused:
            while left:
                left -= _length(len(take()), left)
            take()  # the seal
            raise
        return incoming.finish(take())
    except (MessageRefused, LinkClosed):
        raise
    except (LinkTimeout, _OutOfStep) as error:
        why = f"{header.kind} from {header.sender}: {error}, so the link is closed"
        end(why)
        raise LinkClosed(why) from error
    except BaseException:  # of place: half a message is still to come, and nobody would take it
        end("the receiver failed in the middle of a message")
        raise


class _OutOfStep(Exception):
    """The parts are not those that the header announced."""


def _length(came: int, left: int) -> int:
    if not 0 < came <= left:
        raise _OutOfStep(f"expected a part of 1 to {left} bytes, got {came}")
    return came
