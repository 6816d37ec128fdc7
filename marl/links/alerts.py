"""Let TLS say why it refuses.

asyncio closes the socket of a failed handshake before OpenSSL's alert has left, so that the other side learns nothing.
Here the alert is kept with the error, and sent on a duplicate of the socket, which then waits until the other side has
hung up: a socket that is closed with unread bytes makes some systems throw away what the other has not read yet.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Any

_LINGER_S = 1.0


def keep_alerts(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make handshakes of ``context`` keep their last words for ``deliver``; returns ``context``."""
    wrap = context.wrap_bio

    def wrap_bio(incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **options: Any) -> ssl.SSLObject:
        tls = wrap(incoming, outgoing, *args, **options)
        assert isinstance(tls, _Telling)
        tls.outgoing = outgoing
        return tls

    context.sslobject_class = _Telling
    context.wrap_bio = wrap_bio  # type: ignore[method-assign]
    return context


class _Telling(ssl.SSLObject):
    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            error.alert = self.outgoing.read()  # type: ignore[attr-defined]
            raise


async def deliver(error: ssl.SSLError, spare: socket.socket) -> None:
    """Send the alert that belongs to ``error`` and wait until the other side hangs up, at most a second."""
    loop = asyncio.get_running_loop()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            await loop.sock_sendall(spare, getattr(error, "alert", b""))
            spare.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(spare, 65536):
                pass
