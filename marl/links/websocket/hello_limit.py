"""The first bytes of a stranger, looked at where they lie: before TLS takes memory for them."""

import asyncio
import socket
import struct
from contextlib import suppress

from marl.errors import TrustError
from marl.links.websocket.tls import readable

MAX_HELLO_BYTES = 4096  # a parent's has less than 2,000, with a key of 1,200 bytes against quantum computers
_HEAD = 9  # bytes: of a record 5, of the handshake message in it 4
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_PAUSE_S = 0.02


async def look(sock: socket.socket) -> None:
    """Wait until a TLS handshake begins, and refuse one that begins with more than a parent has to say. What is no TLS
    passes: who speaks it knows what to answer.

    Raises:
        TrustError: the first message is too long.
        OSError: the connection broke.
    """
    if hasattr(socket, "SO_RCVLOWAT"):
        with suppress(OSError):  # where it works, a byte now and then wakes nobody
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _HEAD)
    head = await _peek(sock)
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    if len(head) < _HEAD or head[0] != _HANDSHAKE or head[5] != _CLIENT_HELLO:
        return
    (record,), hello = struct.unpack("!H", head[3:5]), int.from_bytes(head[6:9])
    if max(record, hello) > MAX_HELLO_BYTES:
        raise TrustError(
            f"expected a parent's TLS hello of at most {MAX_HELLO_BYTES} bytes, got one of {max(record, hello)}: "
            "check that it is a marl parent"
        )


async def _peek(sock: socket.socket) -> bytes:
    """The first bytes, as soon as there are enough to tell what they are, or none will come."""
    while True:
        await readable(sock)
        with suppress(BlockingIOError):
            head = sock.recv(_HEAD, socket.MSG_PEEK)
            if len(head) == _HEAD or not head or head[0] != _HANDSHAKE:
                return head
        await asyncio.sleep(_PAUSE_S)  # so few bytes are readable all the time
