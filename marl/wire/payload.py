"""The bytes of a message's arrays: views of memory that exists, copied into receive buffers, hashed once.

On the wire a message is its header, its payload in chunks, and a seal: ``digest(header + digest(payload))``, by the
digest that ``marl/digests.py`` gives the link. The inner one covers only the arrays, so that a parent that sends the
same weights to many children hashes them once; the outer one ties them to this header.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from marl.digests import traffic_digest
from marl.errors import MessageRefused
from marl.wire.arrays import bytes_of, entry_of, tensor_over
from marl.wire.header import MAX_INT, Header, decode_header, encode_header
from marl.wire.message import Buffer, Message
from marl.wire.protocol import PROTOCOL

CHUNK_BYTES = 256 * 1024

# Gives the receive buffer of each array of a message.
ReceiveBuffers: TypeAlias = Callable[[Header], Mapping[str, memoryview]]


class Outgoing:
    """One message on its way out: send ``header``, each of ``chunks()``, then ``seal()``."""

    def __init__(
        self,
        message: Message,
        payload_digest: bytes | None = None,
        *,
        protocol: int = PROTOCOL,
        max_bytes: int = MAX_INT,
        key: bytes | None = None,
    ) -> None:
        """Without ``payload_digest``, the chunks are hashed as they leave; with it, not at all.

        Args:
            protocol: the one agreed on; a hello, which comes before that, is sent in the oldest.
            max_bytes: the longest payload that was agreed on.
            key: of the link's digests, see ``traffic_digest``.

        Raises:
            MessageRefused: it breaks a bound of the header, or is longer.
        """
        entries = tuple(entry_of(name, array) for name, array in message.arrays.items())
        self.header = encode_header(message, entries, protocol=protocol, max_bytes=max_bytes)
        self._views = [bytes_of(array) for array in message.arrays.values()]
        self.num_bytes = sum(map(len, self._views))  # of the payload
        self._key = key
        self._digest = payload_digest

    def chunks(self) -> Iterator[memoryview]:
        """Views of the arrays' own memory, in order, none longer than 256 KiB."""
        hashing = traffic_digest(self._key)
        for view in self._views:
            for start in range(0, len(view), CHUNK_BYTES):
                chunk = view[start : start + CHUNK_BYTES]
                if self._digest is None:
                    hashing.update(chunk)
                yield chunk
        if self._digest is None:
            self._digest = hashing.digest()

    @property
    def payload_digest(self) -> bytes:
        """For the next message with the same arrays; taken from the chunks that left, or computed now."""
        if self._digest is None:
            for _ in self.chunks():
                pass
        assert self._digest is not None
        return self._digest

    def seal(self) -> bytes:
        """The last bytes of the message."""
        return _seal(self.header, self.payload_digest, self._key)


class Incoming:
    """One message on its way in: ``put`` each chunk until ``missing`` is 0, then ``finish`` with the seal."""

    def __init__(
        self,
        header: Buffer,
        buffers: ReceiveBuffers,
        *,
        max_bytes: int = MAX_INT,
        decoded: Header | None = None,
        key: bytes | None = None,
    ) -> None:
        """Ask ``buffers`` for memory.

        Args:
            decoded: the header, where it has been checked already.
            key: of the link's digests, see ``traffic_digest``.

        Raises:
            MessageRefused: by the header itself, or by ``buffers``.
        """
        self.header = decode_header(header, max_bytes=max_bytes) if decoded is None else decoded
        self._header_bytes = bytes(header)
        self._views = _in_order(self.header, buffers(self.header))
        self._left = [view for view in self._views.values() if len(view)]
        self._key = key
        self._hashing = traffic_digest(key)
        self._lent = memoryview(b"")
        self.missing = self.header.num_bytes

    def room(self, size: int) -> memoryview | None:
        """Where the next ``size`` bytes belong, if they lie in one piece: to be written there, and ``put``."""
        if not self._left or not 0 < size <= len(self._left[0]):
            return None
        self._lent = self._left[0][:size]
        return self._lent

    def put(self, chunk: Buffer) -> None:
        """Bring the next bytes of the payload to their receive buffer, and hash them there; chunks may be cut anywhere.

        Raises:
            MessageRefused: more bytes came than the header announced.
        """
        if len(chunk) > self.missing:
            raise MessageRefused(f"{self.header.kind} from {self.header.sender}: longer than its header says")
        self.missing -= len(chunk)
        rest = memoryview(chunk)
        while rest:
            size = min(len(self._left[0]), len(rest))
            target = self._left[0][:size]
            if chunk is not self._lent:
                target[:] = rest[:size]
            self._hashing.update(target)
            rest = rest[size:]
            self._left[0] = self._left[0][size:]
            if not self._left[0]:
                del self._left[0]

    def finish(self, seal: Buffer) -> Message:
        """The whole message; its arrays are tensors over the receive buffers.

        Raises:
            MessageRefused: it was cut short, or a bit of it changed on the way.
        """
        header = self.header
        if self.missing:
            raise MessageRefused(f"{header.kind} from {header.sender}: {self.missing} bytes of the payload are missing")
        if bytes(seal) != _seal(self._header_bytes, self._hashing.digest(), self._key):
            raise MessageRefused(f"{header.kind} from {header.sender}: the hash differs, it was damaged on the way")
        return _message(header, self._views)


def hand_over(message: Message, buffers: ReceiveBuffers) -> Message:
    """The message as a receiver in the same process gets it: copied to its receive buffers, and nothing more.

    Raises:
        MessageRefused: by ``buffers``.
    """
    entries = tuple(entry_of(name, array) for name, array in message.arrays.items())
    fields = (PROTOCOL, message.kind, message.sender, message.term, message.version, message.counter)
    header = Header(*fields, dict(message.info), entries)
    views = _in_order(header, buffers(header))
    for name, array in message.arrays.items():
        if views[name]:
            views[name][:] = bytes_of(array)
    return _message(header, views)


def _message(header: Header, views: Mapping[str, memoryview]) -> Message:
    arrays = {entry.name: tensor_over(views[entry.name], entry) for entry in header.manifest}
    return Message(header.kind, header.sender, header.term, header.version, header.counter, arrays, header.info)


def _seal(header: bytes, payload_digest: bytes, key: bytes | None) -> bytes:
    hashing = traffic_digest(key)
    hashing.update(header + payload_digest)
    return hashing.digest()


def _in_order(header: Header, views: Mapping[str, memoryview]) -> dict[str, memoryview]:
    """The receive buffers, in the order of the manifest; anything else is our own mistake."""
    buffers = {name: view.cast("B") if view.nbytes else memoryview(b"") for name, view in views.items()}
    expected = {entry.name: entry.nbytes for entry in header.manifest}
    if {name: len(view) for name, view in buffers.items()} != expected:
        raise ValueError(
            f"expected receive buffers {expected}, got {dict(zip(buffers, map(len, buffers.values()), strict=True))}"
        )
    if any(view.readonly for view in buffers.values() if view):
        raise ValueError("expected writable receive buffers")
    return {name: buffers[name] for name in expected}
