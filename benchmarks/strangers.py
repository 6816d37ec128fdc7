"""Strangers: connections from many addresses of this machine that say nothing, or hardly anything. Linux only."""

import contextlib
import itertools
import socket
import threading
from typing import Self

PATIENCE_S = 60.0
ADDRESSES = [f"127.1.{number}.1" for number in range(50)]  # all of 127.0.0.0/8 is this machine


def knock(host: str, port: int, address: str) -> socket.socket:
    """A connection from ``address``."""
    return socket.create_connection((host, port), PATIENCE_S, source_address=(address, 0))


class Strangers:
    """So many connections at a time: a byte from each now and then, and who is thrown out comes again."""

    def __init__(self, host: str, port: int, size: int) -> None:
        self._where, self._size = (host, port), size
        self._addresses = itertools.cycle(ADDRESSES)
        self._gone = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._linger)

    def _linger(self) -> None:
        with contextlib.ExitStack() as stack:
            waiting: list[socket.socket] = []
            while not self._gone.wait(0.5):
                for sock in waiting[:]:
                    try:
                        sock.send(b"\x16")  # so TLS begins
                    except OSError:
                        waiting.remove(sock)
                        sock.close()
                while len(waiting) < self._size and not self._gone.is_set():
                    with contextlib.suppress(OSError):
                        waiting.append(stack.enter_context(knock(*self._where, next(self._addresses))))
                self._ready.set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *unused: object) -> None:
        self.leave()

    def leave(self) -> None:
        """All of them go; may be called twice."""
        self._gone.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
