"""The TLS handshake of a socket, without asyncio's own TLS (see ``transport.py``)."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress


async def shake_hands(
    sock: socket.socket, context: ssl.SSLContext, server_name: str | None, timeout: float
) -> ssl.SSLSocket:
    """TLS over ``sock``, connected and not blocking; it is closed if that fails.

    Args:
        server_name: that the other side's certificate must carry; None: this is the server.
        timeout: seconds.

    Raises:
        OSError: one side refuses the other (ssl.SSLError), the connection broke, or time is up (TimeoutError).
        ValueError: no certificate can carry that name.
    """
    is_server = server_name is None
    tls = context.wrap_socket(sock, is_server, do_handshake_on_connect=False, server_hostname=server_name)
    try:
        async with asyncio.timeout(timeout):
            await _shake_hands(tls)
        return tls
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError) as error:
        tls.close()
        raise ConnectionResetError("the other side hung up") from error
    except ssl.SSLError:
        await _linger(socket.socket(fileno=tls.detach()))
        raise
    except BaseException:
        tls.close()
        raise


async def _shake_hands(tls: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            return tls.do_handshake()
        except ssl.SSLWantReadError:
            await readable(tls)
        except ssl.SSLWantWriteError:
            await _ready(tls, loop.add_writer, loop.remove_writer)


async def readable(sock: socket.socket) -> None:
    """Wait until something can be read, or the other side has hung up."""
    loop = asyncio.get_running_loop()
    await _ready(sock, loop.add_reader, loop.remove_reader)


async def _ready(sock: socket.socket, add: Callable[..., None], remove: Callable[..., bool]) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(sock, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        remove(sock)


async def _linger(sock: socket.socket) -> None:
    """TLS has said why it refuses: let the other side read that, for at most a second."""
    with sock, suppress(OSError, TimeoutError):
        sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(1.0):
            while await asyncio.get_running_loop().sock_recv(sock, 65536):
                pass
