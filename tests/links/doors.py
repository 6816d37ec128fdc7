"""A server, and what it told: for tests of who comes in."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Queue
from typing import Any

from marl.links.loop import IOLoop
from marl.links.server import Server
from marl.links.websocket import WebSocketLink
from marl.trust.identity import Identity
from tests.links.pairs import WAIT_S


class Door:
    """A server, and what it told."""

    def __init__(self, io: IOLoop, identity: Identity | None, **options: Any) -> None:
        self.links: Queue[WebSocketLink] = Queue()
        self.lines: Queue[str] = Queue()
        self.server = Server(io, "127.0.0.1", 0, identity, self.links.put, self.lines.put, **options)

    def knock(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=WAIT_S)

    def line(self) -> str:
        return self.lines.get(timeout=WAIT_S)


@contextmanager
def door(io: IOLoop, identity: Identity | None, **options: Any) -> Iterator[Door]:
    opened = Door(io, identity, **options)
    with opened.server:
        yield opened
    assert opened.links.empty()


def hangs_up(sock: socket.socket) -> bool:
    with suppress(ConnectionResetError):
        while sock.recv(4096):
            pass
    return True
