"""Ports that are free."""

import contextlib
import socket


def free_port(host: str) -> int:
    """A port of ``host`` that is free now; 0 where that cannot be found out.

    A node that may choose its port needs it before it listens: its name, which its certificate carries, ends with it.
    """
    with contextlib.suppress(OSError, UnicodeError):  # binding will say what is wrong with the name
        family, kind, protocol, _, address = socket.getaddrinfo(host or "127.0.0.1", 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
            return int(probe.getsockname()[1])
    return 0
