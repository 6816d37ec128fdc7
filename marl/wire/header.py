"""The header: everything of a message but its array bytes, checked before a byte of them is taken.

One MessagePack object of at most 64 KiB, typed and bounded by msgspec. It names each array (the manifest), so that the
receiver can refuse, or find memory, before anything large moves.
"""

import math
from typing import Annotated, Literal

import msgspec
import torch
from msgspec import Meta

from marl.errors import MessageRefused
from marl.wire.message import Buffer, Kind, Message, Value
from marl.wire.protocol import OLDEST_PROTOCOL, PROTOCOL, foreign_protocol
from marl.words import printable

MAX_HEADER_BYTES = 64 * 1024
MAX_ARRAYS = 64
MAX_INT = 2**63 - 1
IN_JSON = frozenset((Kind.HELLO, Kind.WELCOME, Kind.REFUSAL))  # their words are read, and made printable, by hello.py

_Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:@/\[\]-]+\Z")]
_Count = Annotated[int, Meta(ge=0, le=MAX_INT)]
_Int = Annotated[int, Meta(ge=-MAX_INT - 1, le=MAX_INT)]
_Text = Annotated[str, Meta(max_length=48 * 1024)]
_Item = bool | _Int | float | _Text | None
_Value = bool | _Int | float | _Text | Annotated[list[_Item], Meta(max_length=1024)] | None
_DType = Literal["float32", "bfloat16", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"]


class ArrayEntry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One line of the manifest."""

    name: _Name
    dtype: _DType
    shape: Annotated[tuple[_Count, ...], Meta(max_length=8)]
    nbytes: _Count


class Header(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Everything of a message but the array bytes."""

    protocol: Annotated[int, Meta(ge=OLDEST_PROTOCOL, le=PROTOCOL)]
    kind: Kind
    sender: _Name
    term: _Count = msgspec.field(name="epoch")
    version: _Count
    counter: _Count
    info: Annotated[dict[_Name, _Value], Meta(max_length=256)]
    manifest: Annotated[tuple[ArrayEntry, ...], Meta(max_length=MAX_ARRAYS)]

    @property
    def num_bytes(self) -> int:
        """Length of the payload: all arrays, in order of the manifest."""
        return sum(entry.nbytes for entry in self.manifest)


class _Speaks(msgspec.Struct):
    """The one field that every protocol has, whatever else it may add."""

    protocol: int = 0


_decoder = msgspec.msgpack.Decoder(Header)
_speaks_decoder = msgspec.msgpack.Decoder(_Speaks)


def encode_header(
    message: Message, manifest: tuple[ArrayEntry, ...], *, protocol: int = PROTOCOL, max_bytes: int = MAX_INT
) -> bytes:
    """The header's bytes; what the other side would refuse is refused here.

    Raises:
        MessageRefused: a field is out of bounds, or the payload longer than ``max_bytes``.
    """
    fields = (protocol, message.kind, message.sender, message.term, message.version, message.counter)
    try:
        data = msgspec.msgpack.encode(Header(*fields, dict(message.info), manifest))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise MessageRefused(f"cannot encode the header of {message.kind} from {message.sender!r}: {error}") from error
    decode_header(data, max_bytes=max_bytes)
    return data


def decode_header(data: Buffer, *, max_bytes: int) -> Header:
    """Check a header that came from elsewhere. Nothing larger than ``data`` is allocated.

    Args:
        max_bytes: the longest payload that was agreed on.

    Raises:
        MessageRefused: it is malformed, unknown, contradicts itself, or announces more than was agreed.
    """
    if len(data) > MAX_HEADER_BYTES:
        raise MessageRefused(f"expected a header of at most {MAX_HEADER_BYTES} bytes, got {len(data)}")
    try:
        header = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise MessageRefused(_foreign_protocol(data) or printable(f"malformed header: {error}", 220)) from error
    _check_manifest(header, max_bytes)
    if header.kind not in IN_JSON and any(isinstance(value, (str, list)) for value in header.info.values()):
        header = msgspec.structs.replace(header, info={name: _printable(value) for name, value in header.info.items()})
    for name, value in header.info.items():
        if not all(math.isfinite(item) for item in _items(value) if isinstance(item, float)):
            raise MessageRefused(
                f"{header.kind} from {header.sender}: expected finite numbers, {name} is {value!r:.80}"
            )
    return header


def _foreign_protocol(data: Buffer) -> str | None:
    """A better reason than the first field that a newer or older protocol spells differently."""
    try:
        theirs = _speaks_decoder.decode(data).protocol
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return foreign_protocol(str(theirs)) if theirs > PROTOCOL or 0 < theirs < OLDEST_PROTOCOL else None


def _check_manifest(header: Header, max_bytes: int) -> None:
    """Python's integers do not overflow, so a shape of 2^63 by 2^63 is only a large number here."""
    who = f"{header.kind} from {header.sender}"
    if len({entry.name for entry in header.manifest}) < len(header.manifest):
        raise MessageRefused(f"{who}: expected arrays of different names")
    for entry in header.manifest:
        needed = math.prod(entry.shape) * getattr(torch, entry.dtype).itemsize
        if entry.nbytes != needed:
            raise MessageRefused(
                f"{who}: {entry.name} of {entry.dtype} {list(entry.shape)} has {needed} bytes, not {entry.nbytes}"
            )
    if header.num_bytes > max_bytes:
        raise MessageRefused(f"{who}: expected a payload of at most {max_bytes} bytes, got {header.num_bytes}")


def _printable(value: Value) -> Value:
    """From here on nobody has to ask what a word does to a terminal or a log."""
    if isinstance(value, list):
        return [printable(each) if isinstance(each, str) else each for each in value]
    return printable(value) if isinstance(value, str) else value


def _items(value: Value) -> list[bool | int | float | str | None]:
    return value if isinstance(value, list) else [value]
