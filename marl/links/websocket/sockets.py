"""Sockets that listen, on whatever a host name means."""

import errno
import ipaddress
import os
import socket
from contextlib import suppress

from marl.errors import ConfigError

_BACKLOG = 128


def listen(host: str, port: int, *, loopback_only: bool) -> list[socket.socket]:
    """Non-blocking sockets on every address of ``host`` ("" means all of this machine), all on one port.

    Args:
        port: 0 lets the system choose.
        loopback_only: refuse addresses that other machines can reach.

    Raises:
        ConfigError: the address is another's, in use or not permitted.
    """
    where = f"{host or '*'}:{port}"
    if not 0 <= port < 65536:  # getaddrinfo would take the rest of the division
        raise ConfigError(f"expected a port from 0 to 65535, got {port}")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"expected an address of this machine, got {where} ({reason}): check -ip and -p") from error
    if loopback_only and not all(ipaddress.ip_address(each[4][0]).is_loopback for each in found):
        raise ConfigError(f"expected 127.0.0.1 or ::1 with --insecure, got {where}: use a key or a ticket")
    sockets: list[socket.socket] = []
    trouble: OSError | None = None
    try:
        for family, kind, number, _, address in dict.fromkeys(found):
            try:
                chosen = sockets[0].getsockname()[1] if sockets else port
                sockets.append(_listening(family, kind, number, (address[0], chosen, *address[2:])))
            except OSError as error:
                # Names often mean an address of IPv6 too where the machine has none.
                if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    raise
                trouble = error
        if not sockets:
            raise trouble or OSError("no address")
    except BaseException as error:
        for sock in sockets:
            sock.close()
        if isinstance(error, OSError):
            raise ConfigError(_why(error, where)) from error
        raise
    return sockets


def in_use(error: ConfigError) -> bool:
    """Whether ``listen`` failed because another program has the port."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE


def _listening(family: int, kind: int, number: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, kind, number)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            with suppress(OSError, AttributeError):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _why(error: OSError, where: str) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"expected a free port, {where} is in use: end the program that has it, or choose another with -p"
        case errno.EACCES | errno.EPERM:
            return f"expected a port that this user may open, {where} is not permitted: choose one above 1023"
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return f"expected an address of this machine, {where} is none: check -ip"
        case _:
            return f"expected to listen on {where}, got {error.strerror or error}: check -ip and -p"
