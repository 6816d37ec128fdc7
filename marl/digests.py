"""Which digest guards what, chosen here and nowhere else. Keys and certificates are another matter: ``marl/trust``.

What travels is hashed chunk by chunk while it lies in the processor's cache, by XXH3-128, which is faster than memory.
What names a version of the weights, or ends a file, is BLAKE3.
"""

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Protocol, TypeAlias

from blake3 import blake3
from xxhash import xxh3_128

Bytes: TypeAlias = bytes | bytearray | memoryview


class Digest(Protocol):
    """A hash under way. Both libraries work outside of Python's lock on long pieces."""

    def update(self, data: Bytes, /) -> object:
        """Go on with these bytes."""

    def digest(self) -> bytes:
        """The hash of all bytes so far."""


def traffic_digest(key: bytes | None = None) -> Digest:
    """For the bytes of messages.

    Args:
        key: None where the link authenticates every byte (TLS) or never leaves the machine: only faults of memory and
            of our own code are left to catch, and anybody can compute this digest. On any other link 32 bytes that
            both ends share, and nobody else can.
    """
    return xxh3_128() if key is None else blake3(key=key)


def content_of(piece: Bytes) -> bytes:
    """16 bytes that equal pieces of this process's own memory share, and no others: nobody chooses them to collide."""
    return xxh3_128(piece).digest()


def name_of(content: Bytes) -> str:
    """64 hexadecimal digits that stand for ``content``: a version of the weights."""
    return blake3(content).hexdigest()


def begin_name(content: Bytes) -> Future[str]:
    """The same digest, computed in another thread on all cores. A caller that begins early does not wait for it.

    Args:
        content: unchanged from now on.
    """
    name: Future[str] = Future()

    def compute() -> None:
        name.set_result(blake3(content, max_threads=blake3.AUTO).hexdigest())

    threading.Thread(target=compute, name="marl-naming", daemon=True).start()
    return name


def keyed_name_of(pieces: Iterable[Bytes], key: bytes) -> str:
    """The same of all ``pieces`` together, for who has the ``key`` of 32 bytes; nobody else can compute it."""
    hashing = blake3(key=key)
    for piece in pieces:
        hashing.update(piece)
    return hashing.hexdigest()
