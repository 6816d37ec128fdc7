"""Two ends of a link, and what goes wrong between them."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from queue import Queue
from typing import Any, TypeVar

from examples.own_link import Dials, SocketLink, Waits
from marl.links.websocket.client import connect
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.server import Server
from marl.trust.identity import Identity

T = TypeVar("T")
WAIT_S = 10.0  # for what must happen; only a failing test waits so long


@contextmanager
def websocket_pair(
    io: IOLoop,
    parent: Identity | None,
    child: Identity | None,
    *,
    proxy: "Proxy | None" = None,
    max_bytes: int = 2**40,
    **options: Any,
) -> Iterator[tuple[WebSocketLink, WebSocketLink]]:
    """The parent's end and the child's."""
    came: Queue[WebSocketLink] = Queue()
    with Server(io, "127.0.0.1", 0, child, came.put, lambda line: None, **options) as server:
        port = server.port if proxy is None else proxy.towards(server.port)
        here = connect(io, "127.0.0.1", port, parent, **options)
        there = came.get(timeout=WAIT_S)
    for link in (here, there):
        link.limit(max_bytes)
    try:
        yield here, there
    finally:
        here.close()
        there.close()


@contextmanager
def own_pair(max_bytes: int = 2**40) -> Iterator[tuple[SocketLink, SocketLink]]:
    """Of the example's link."""
    waits = Waits()
    dials = Dials(waits.port)
    there = dials.meet()
    here = waits.meet()
    with closing(waits), closing(dials), closing(here), closing(there):
        for link in (here, there):
            link.limit(max_bytes)
        yield here, there
    waits._sock.close()


class Background(threading.Thread):
    """A call in a thread; its result or error is the owner's."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__(name="background", daemon=True)
        self._action = action
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._action()
        except BaseException as error:
            self._error = error

    def end(self) -> None:
        self.join(WAIT_S)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error


class Proxy:
    """Stands between two ends of TCP: slows, freezes, cuts or changes what passes."""

    def __init__(
        self,
        *,
        rate: float | None = None,
        most: int = 16384,
        delay: float = 0.0,
        cut_after: int | None = None,
        change: Callable[[bytearray, int], None] = lambda piece, passed: None,
    ) -> None:
        """
        Args:
            rate: bytes a second, each way.
            most: bytes of a piece.
            delay: seconds that each piece is held up.
            cut_after: bytes, both ways together, after which the connection breaks without a word; the next one lasts.
            change: what is done to each piece, after so many bytes of its connection and way.
        """
        self._change = change
        self._rate, self._most, self._delay = rate, most, delay
        self._cut_after, self._passed = cut_after, 0
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def towards(self, port: int) -> int:
        """The port to connect to instead."""
        listening = _small(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        self._sockets.append(listening)
        self._run(self._accept, listening, port)
        return int(listening.getsockname()[1])

    def freeze(self) -> None:
        """From now on nothing passes, and nothing is closed."""
        self._flowing.clear()

    def thaw(self) -> None:
        """From now on everything passes again."""
        self._flowing.set()

    def _accept(self, listening: socket.socket, port: int) -> None:
        while True:
            near, _ = listening.accept()
            far = _small(socket.socket())
            self._sockets += [near, far]
            far.connect(("127.0.0.1", port))
            self._run(self._pump, near, far)
            self._run(self._pump, far, near)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        passed = 0  # here; the cut counts both ways
        with suppress(OSError):
            while piece := bytearray(source.recv(self._most)):
                self._passed += len(piece)
                if self._cut_after is not None and self._passed > self._cut_after:
                    self._cut_after = None
                    break
                time.sleep(self._delay + (len(piece) / self._rate if self._rate else 0.0))  # what makes the link slow
                self._flowing.wait()
                self._change(piece, passed)
                passed += len(piece)
                sink.sendall(piece)
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _run(self, action: Callable[..., None], *args: object) -> None:
        def run() -> None:
            with suppress(OSError):
                action(*args)

        self._threads.append(threading.Thread(target=run, name="proxy", daemon=True))
        self._threads[-1].start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *unused: object) -> None:
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self._flowing.set()
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()


def _small(sock: socket.socket) -> socket.socket:
    """With small buffers, or the kernel would hide how slow we are; set before the window is agreed on."""
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 256 * 1024)
    return sock
