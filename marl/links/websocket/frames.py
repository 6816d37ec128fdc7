"""Binary frames of a WebSocket, without the copies that a parser for every kind of frame needs.

Only whole binary frames of at most one chunk are read here, straight into memory of their own; whatever else comes is
left to the library, byte for byte.
"""

import struct
from typing import NamedTuple

from websockets.frames import Opcode

from marl.wire.payload import CHUNK_BYTES

try:
    from websockets.speedups import apply_mask
except ImportError:  # the library without its C part
    from websockets.utils import apply_mask

__all__ = ["FrameHead", "apply_mask", "frame_head", "read_head"]

_WHOLE = 0x80  # the last frame of a message, and the first
_MASKED = 0x80
_NO_MASK = bytes(4)


class FrameHead(NamedTuple):
    """What stands before the bytes of a frame."""

    is_chunk: bool  # a whole binary message that is not too long
    num_bytes: int  # of the head
    length: int  # of what follows
    mask: bytes  # empty where all its bits are 0


def frame_head(length: int, *, masked: bool) -> bytes:
    """The head of a whole binary frame.

    A client must mask, so that no web page can write what a proxy in between takes for a request. Nothing reads between
    the two ends of TLS, so the mask is zero, and the bytes are sent from where they lie.
    """
    first, bit = _WHOLE | Opcode.BINARY, _MASKED if masked else 0
    if length < 126:
        head = struct.pack("!BB", first, bit | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, bit | 127, length)
    return head + _NO_MASK if masked else head


def read_head(data: memoryview, *, masked: bool) -> FrameHead | None:
    """The head at the start of ``data``; None where more bytes are needed to tell.

    Args:
        masked: whether the other side must mask.
    """
    if len(data) < 2:
        return None
    length = data[1] & 0x7F
    num_bytes = 2 + {126: 2, 127: 8}.get(length, 0)
    if len(data) < num_bytes + 4 * masked:
        return None
    if length > 125:
        length = int.from_bytes(data[2:num_bytes])
    is_chunk = data[0] == _WHOLE | Opcode.BINARY and bool(data[1] & _MASKED) == masked and length <= CHUNK_BYTES
    mask = bytes(data[num_bytes : num_bytes + 4]) if masked else b""
    return FrameHead(is_chunk, num_bytes + 4 * masked, length, b"" if mask == _NO_MASK else mask)
