"""A link of one's own, over plain sockets, for children that can only dial out: here the parent listens.

    python -m examples.own_link

Nothing is encrypted, so it keeps to this machine. Everything else about messages (headers, limits, digests) is marl's.
"""

import socket
import subprocess
import sys
import threading
from contextlib import suppress

from marl.errors import LinkClosed, LinkTimeout
from marl.links.message_parts import outgoing_within, receive
from marl.links.receive_queue import ReceiveQueue
from marl.wire.message import Message
from marl.wire.payload import CHUNK_BYTES, ReceiveBuffers
from marl.wire.protocol import OLDEST_PROTOCOL

HERE, PATIENCE_S, CLOSED = "127.0.0.1", 20.0, "the other side closed the link"


class SocketLink:  # see marl.wire.link.Link; each part of a message follows its length
    peer = round_trip = None  # who it is cannot be proved, and nobody measures

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.address, self.protocol = address, OLDEST_PROTOCOL
        self.bytes_sent = self.bytes_received = 0
        self.ended, self._why = threading.Event(), ""
        self._sock, self._max_bytes, self._parts = sock, 0, ReceiveQueue(4 * CHUNK_BYTES)
        sock.settimeout(PATIENCE_S)
        threading.Thread(target=self._read, name=f"reads {address}", daemon=True).start()

    def limit(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def send(self, message: Message, digest: bytes | None = None) -> None:
        outgoing = outgoing_within(message, digest, protocol=self.protocol, max_bytes=self._max_bytes)
        try:
            for part in (outgoing.header, *outgoing.chunks(), outgoing.seal()):
                self._sock.sendall(len(part).to_bytes(4) + bytes(part))
                self.bytes_sent += 4 + len(part)
        except OSError as error:  # half a message may have left
            self._end("the other side takes no more" if isinstance(error, TimeoutError) else CLOSED)
            raise (LinkTimeout if isinstance(error, TimeoutError) else LinkClosed)(self._why) from error

    def recv(self, timeout: float, buffers: ReceiveBuffers) -> Message:
        return receive(self._parts, timeout, buffers, max_bytes=self._max_bytes, patience=PATIENCE_S, end=self._end)

    def close(self) -> None:
        self._end("this side closed the link")

    def _end(self, why: str, *, discard: bool = True) -> None:
        self._why = self._why or f"{self.address}: {why}"  # the first reason is told
        self._parts.close(self._why, discard=discard)
        self.ended.set()
        with suppress(OSError):  # the other side was first
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes who reads or writes
        self._sock.close()

    def _read(self) -> None:
        try:
            while True:
                size = int.from_bytes(self._exactly(4))
                if size > CHUNK_BYTES:
                    raise LinkClosed(f"a part of {size} bytes came, which is too long")
                self._parts.put_or_wait(self._exactly(size), threading.TIMEOUT_MAX)
        except (OSError, LinkClosed) as error:  # what came whole can still be received
            self._end(CLOSED if isinstance(error, OSError) else str(error), discard=False)

    def _exactly(self, size: int) -> bytearray:
        data = bytearray()
        while len(data) < size:
            try:
                piece = self._sock.recv(size - len(data))
            except TimeoutError:  # silence
                continue
            if not piece:
                raise LinkClosed(CLOSED)
            data += piece
        self.bytes_received += size
        return data


class Waits:  # the endpoint at the parent: one for each child; see marl.wire.endpoint.Endpoint
    def __init__(self, port: int = 0) -> None:
        self._closed, self._sock = threading.Event(), socket.create_server((HERE, port))
        self._sock.settimeout(0.2)  # how soon a close is noticed
        self.port = int(self._sock.getsockname()[1])
        self.address = f"{HERE}:{self.port}"

    def meet(self) -> SocketLink:
        while not self._closed.is_set():
            with suppress(TimeoutError):
                return SocketLink(self._sock.accept()[0], self.address)
        self._sock.close()
        raise LinkClosed(f"{self.address}: this side waits no more")

    def check(self) -> None:
        """Accept every child."""

    def close(self) -> None:
        self._closed.set()


class Dials:  # the endpoint at a child: one link at a time
    def __init__(self, port: int) -> None:
        self._port, self.address = port, f"{HERE}:{port}"
        self._closed, self._last = threading.Event(), threading.Event()
        self._last.set()

    def meet(self) -> SocketLink:
        while not self._closed.wait(0.2):  # which is the pause between two tries, too
            if self._last.is_set():
                with suppress(OSError):  # the parent may come later
                    link = SocketLink(socket.create_connection((HERE, self._port), PATIENCE_S), self.address)
                    self._last = link.ended
                    return link
        raise LinkClosed(f"{self.address}: this side dials no more")

    def check(self) -> None:
        """The parent may speak."""

    def close(self) -> None:
        self._closed.set()


if __name__ == "__main__":
    from marl.api import Cluster, serve, train

    if sys.argv[1:]:
        serve(Dials(int(sys.argv[1])), name="child", workers=1, allow=("examples",), live=False)
    else:
        endpoint = Waits()
        child = subprocess.Popen([sys.executable, "-m", "examples.own_link", str(endpoint.port)])
        try:
            cluster = Cluster(endpoints=(endpoint,), wait_s=60.0)
            settings = {"algorithm.entropy_cost": 0.03}
            print(train("examples.own_environment:Catch-v0", settings=settings, cluster=cluster).reason)
        finally:
            child.terminate()
            child.wait()
