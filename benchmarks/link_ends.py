"""The ends that links are compared by: bare TLS, with hashes, ours, and others."""

import asyncio
import hashlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from queue import Queue
from typing import Protocol

import torch
from websockets.asyncio.client import connect as plain_connect
from websockets.asyncio.server import serve as plain_serve

from marl.digests import Digest, traffic_digest
from marl.links.websocket.client import connect
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.server import Server
from marl.trust.identity import Identity
from marl.trust.tls.contexts import client_context, server_context
from marl.wire.message import Kind, Message
from marl.wire.payload import CHUNK_BYTES, Outgoing
from marl.wire.receive_buffers import buffers_of

MIB = 1024 * 1024
TO_REACH = ">= 0.75x"


MIB = 1024 * 1024


class End(Protocol):
    """One end of a contender: whole payloads, and a word that it came."""

    def send(self, payload: bytearray) -> None: ...
    def recv(self, payload: bytearray) -> None: ...


class BareEnd:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, payload: bytearray) -> None:
        view = memoryview(payload)
        for start in range(0, len(view), CHUNK_BYTES):
            self._sock.sendall(view[start : start + CHUNK_BYTES])

    def recv(self, payload: bytearray | memoryview) -> None:
        view = memoryview(payload)
        while view:
            view = view[self._sock.recv_into(view) :]


@contextmanager
def secured(role: str, identity: Identity, port: int, tell: Callable[[int], None]) -> Iterator[socket.socket]:
    """TLS and nothing else."""
    if role == "parent":
        raw = socket.create_connection(("127.0.0.1", port))
        with client_context(identity).wrap_socket(raw, server_hostname=identity.server_name) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield sock
        return
    with socket.create_server(("127.0.0.1", 0)) as listening:
        tell(listening.getsockname()[1])
        raw, _ = listening.accept()
    with server_context(identity).wrap_socket(raw, server_side=True) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


@contextmanager
def bare(role: str, identity: Identity, port: int, tell: Callable[[int], None]) -> Iterator[End]:
    with secured(role, identity, port, tell) as sock:
        yield BareEnd(sock)


class HashingEnd(BareEnd):
    def __init__(self, sock: socket.socket, new_digest: Callable[[], Digest], beside: ThreadPoolExecutor) -> None:
        super().__init__(sock)
        self._new_digest = new_digest
        self._beside = beside

    def send(self, payload: bytearray) -> None:
        hashed = self._beside.submit(self._new_digest().update, payload)
        super().send(payload)
        hashed.result()

    def recv(self, payload: bytearray | memoryview) -> None:
        view, digest = memoryview(payload), self._new_digest()
        hashed = []
        for start in range(0, len(view), CHUNK_BYTES):
            chunk = view[start : start + CHUNK_BYTES]
            super().recv(chunk)
            hashed.append(self._beside.submit(digest.update, chunk))
        wait(hashed)


@contextmanager
def hashing(
    role: str, identity: Identity, port: int, tell: Callable[[int], None], *, new_digest: Callable[[], Digest]
) -> Iterator[End]:
    with secured(role, identity, port, tell) as sock, ThreadPoolExecutor(1) as beside:
        yield HashingEnd(sock, new_digest, beside)


class OurEnd:
    def __init__(self, link: WebSocketLink, *, remember: bool) -> None:
        self._link = link
        self._remember = remember
        self._digests: dict[int, bytes] = {}

    def send(self, payload: bytearray) -> None:
        message = Message(Kind.UPLOAD, "bench", arrays={"weights": torch.frombuffer(payload, dtype=torch.uint8)})
        if not self._remember:
            self._link.send(message)
            return
        if len(payload) not in self._digests:
            self._digests[len(payload)] = Outgoing(message).payload_digest
        self._link.send(message, self._digests[len(payload)])

    def recv(self, payload: bytearray) -> None:
        self._link.recv(60.0, buffers_of({"weights": torch.frombuffer(payload, dtype=torch.uint8)}))


@contextmanager
def ours(
    role: str, identity: Identity, port: int, tell: Callable[[int], None], *, remember: bool = False
) -> Iterator[End]:
    with IOLoop() as io:
        if role == "parent":
            link = connect(io, "127.0.0.1", port, identity)
        else:
            came: Queue[WebSocketLink] = Queue()
            with Server(io, "127.0.0.1", 0, identity, came.put, print) as server:
                tell(server.port)
                link = came.get()
        link.limit(2**40)
        yield OurEnd(link, remember=remember)


@contextmanager
def ours_remembering(role: str, identity: Identity, port: int, tell: Callable[[int], None]) -> Iterator[End]:
    """The weights of a round, for the second child and all others."""
    with ours(role, identity, port, tell, remember=True) as end:
        yield end


class PlainEnd:
    """One message of the library for everything, as one would write it first."""

    def __init__(self, io: IOLoop, connection: object) -> None:
        self._io = io
        self._connection = connection

    def send(self, payload: bytearray) -> None:
        self._io.call(self._connection.send(payload), 60.0)  # type: ignore[attr-defined]

    def recv(self, payload: bytearray) -> None:
        payload[:] = self._io.call(self._connection.recv(), 60.0)  # type: ignore[attr-defined]


@contextmanager
def plain(role: str, identity: Identity, port: int, tell: Callable[[int], None]) -> Iterator[End]:
    with IOLoop() as io:
        if role == "parent":

            async def join() -> object:
                return await plain_connect(
                    f"wss://127.0.0.1:{port}",
                    ssl=client_context(identity),
                    server_hostname=identity.server_name,
                    compression=None,
                    max_size=None,
                    proxy=None,
                )

            yield PlainEnd(io, io.call(join(), 10.0))
            return
        came: Queue[object] = Queue()

        async def handle(connection: object) -> None:
            came.put(connection)
            await asyncio.Future()

        async def listen() -> int:
            server = await plain_serve(
                handle, "127.0.0.1", 0, ssl=server_context(identity), compression=None, max_size=None
            )
            return int(next(iter(server.sockets)).getsockname()[1])

        tell(io.call(listen(), 10.0))
        yield PlainEnd(io, came.get())


CONTENDERS = {
    "bare TLS": bare,
    "bare TLS, XXH3": partial(hashing, new_digest=traffic_digest),
    "bare TLS, SHA-256": partial(hashing, new_digest=hashlib.sha256),
    "marl": ours,
    "marl, digest known": ours_remembering,
    "websockets": plain,
}
