"""A server, and what it told: for tests of who comes in."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Queue
from typing import Any

from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.server import Server
from marl.trust.identity import Identity
from tests.links.pairs import WAIT_S


class Door:
    """A server, and what it told."""

    def __init__(self, io: IOLoop, identity: Identity | None, **options: Any) -> None:
        self.links: Queue[WebSocketLink] = Queue()
        self.lines: Queue[str] = Queue()
        self.server = Server(io, "127.0.0.1", 0, identity, self.links.put, self.lines.put, **options)

    def knock(self, address: str = "127.0.0.1") -> socket.socket:
        """A connection from ``address``."""
        return socket.create_connection(("127.0.0.1", self.server.port), WAIT_S, source_address=(address, 0))

    def line(self) -> str:
        return self.lines.get(timeout=WAIT_S)


@contextmanager
def door(io: IOLoop, identity: Identity | None, **options: Any) -> Iterator[Door]:
    opened = Door(io, identity, **options)
    with opened.server:
        yield opened
    assert opened.links.empty()


class Recorder:
    """Stands between a client and a server, passes on what both say, and keeps the client's every byte."""

    def __init__(self, port: int) -> None:
        self.said = bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._towards = port
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Until both sides have hung up."""
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def _pass_on(self) -> None:
        with (
            self._listener,
            self._listener.accept()[0] as client,
            socket.create_connection(("127.0.0.1", self._towards)) as server,
        ):
            back = threading.Thread(target=_copy, args=(server, client, bytearray()), daemon=True)
            back.start()
            _copy(client, server, self.said)
            back.join(WAIT_S)


def _copy(here: socket.socket, there: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while data := here.recv(65536):
            kept += data
            there.sendall(data)
    with suppress(OSError):
        there.shutdown(socket.SHUT_WR)


def hangs_up(sock: socket.socket) -> bool:
    with suppress(ConnectionResetError):
        while sock.recv(4096):
            pass
    return True
