"""A wire that flips bits."""

import random
import socket
import threading
from contextlib import suppress
from typing import Self

SPARED_BYTES = 8 * 1024  # of each connection and way: the first words may pass
SHARE = 1 / 300  # of what is read at once


class Flips:
    """Stands between a parent and a child, takes one connection after another, and flips a bit now and then."""

    def __init__(self, port: int, *, seed: int) -> None:
        self.count = 0
        self._towards = port
        self._random = random.Random(seed)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._sockets = [self._listening]
        self._threads = [threading.Thread(target=self._accept, name="flips")]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._towards))
                self._sockets += [near, far]
                for ends in ((near, far), (far, near)):
                    self._threads.append(threading.Thread(target=self._pump, args=ends, name="flips"))
                    self._threads[-1].start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := bytearray(source.recv(16384)):
                passed += len(data)
                if passed > SPARED_BYTES and self._random.random() < SHARE * len(data) / 1024:
                    data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
                    self.count += 1
                sink.sendall(data)
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *unused: object) -> None:
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(10.0)
            assert not thread.is_alive()
