"""What lies below TLS in an asyncio transport: bytes that have not left, and records that are not whole.

asyncio has no public way to look there. This file alone knows the names; its test fails where a Python has others.
"""

import asyncio
from collections.abc import Callable
from typing import Any


class BelowTLS:
    """asyncio's own TLS protocol, which encrypted bytes pass between the network and the transport above."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def unsent(self) -> int:
        """Encrypted bytes that are still in this process."""
        transport = self._protocol._transport  # None after the end
        return 0 if transport is None else int(transport.get_write_buffer_size())

    def watch(self, bytes_above: Callable[[], int], on_part: Callable[[], None]) -> None:
        """``on_part()`` after each read that leaves ``bytes_above()`` as it was: it brought a part of a record."""
        read = self._protocol.buffer_updated

        def buffer_updated(nbytes: int) -> None:
            before = bytes_above()
            read(nbytes)
            if bytes_above() == before:
                on_part()

        self._protocol.buffer_updated = buffer_updated


def below_tls(transport: asyncio.BaseTransport) -> BelowTLS | None:
    """What lies below this transport; None for one without TLS, or where Python hides it elsewhere.

    Without it a very slow network looks silent, and is given up sooner.
    """
    protocol = getattr(transport, "_ssl_protocol", None)
    known = hasattr(protocol, "_transport") and hasattr(protocol, "buffer_updated")
    return BelowTLS(protocol) if known else None
