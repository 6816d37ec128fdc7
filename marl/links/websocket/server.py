"""The child's side: listen for parents. Strangers are kept at a distance, and cheap."""

import asyncio
import logging
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Self

from websockets.exceptions import WebSocketException
from websockets.protocol import State
from websockets.server import ServerProtocol

from marl.errors import LinkClosed, MarlError
from marl.links.websocket.connection import QUIET, ChildConnection
from marl.links.websocket.gate import Gate, origin
from marl.links.websocket.hello_limit import look
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.sockets import listen
from marl.links.websocket.tls import shake_hands
from marl.links.websocket.transport import SocketTransport
from marl.log_throttle import LogThrottle
from marl.processes.heap import give_back
from marl.trust.identity import Identity
from marl.trust.tls.contexts import server_context
from marl.trust.tls.explain import explain
from marl.wire.payload import CHUNK_BYTES

_log = logging.getLogger(__name__)


class Limits(NamedTuple):
    """What strangers may cost."""

    handshake_s: float = 5.0  # for TLS, and again for the upgrade to a WebSocket
    max_pending: int = 64  # connections that are not through yet: one more drops one of the address with most of them
    max_open: int = 512  # all connections
    burst: float = 50.0  # connections of one address at once,
    rate: float = 25.0  # and then a second
    throttle_s: float = 5.0  # seconds between two lines of one cause, once it has had its first


_LIMITS = Limits()
CROWD = 16  # strangers after which it is worth a few milliseconds to return their memory to the system


class Server:
    """Accepts links until it is closed.

        with Server(io, "", 5050, identity, on_link, on_refused) as server:
            print(server.port)

    ``on_link`` runs in a new thread for each parent that TLS has let in, and may hold the whole conversation; of what a
    stranger sends nothing is read. ``on_refused`` gets a line for each refused stranger, a few for a crowd; it runs in
    the loop's thread and must return at once. Links that were handed over are not the server's any more.
    """

    def __init__(
        self,
        io: IOLoop,
        host: str,
        port: int,
        identity: Identity | None,
        on_link: Callable[[WebSocketLink], None],
        on_refused: Callable[[str], None],
        *,
        limits: Limits = _LIMITS,
        silence: float = 5.0,
        patience: float = 20.0,
    ) -> None:
        """Listen and accept.

        Args:
            host: an address or name of this machine; "" means all of its addresses.
            port: 0 lets the system choose; see ``port``.
            identity: None speaks without TLS, to this machine only.
            silence: see ``WebSocketLink``.
            patience: see ``WebSocketLink``.

        Raises:
            ConfigError: the address is not this machine's, in use, or not permitted.
            CertificateError: the identity cannot be used.
        """
        self._io = io
        self._on_link = on_link
        self._on_refused = on_refused
        self._say = LogThrottle(self._tell, every_s=limits.throttle_s)
        self._limits = limits
        self._silence = silence
        self._patience = patience
        self._gate = Gate(limits.burst, limits.rate)
        self._admission = _admission(identity)
        # Touched in the loop's thread only.
        self._accepting: list[asyncio.Task[None]] = []
        self._pending: dict[asyncio.Task[ChildConnection | None], str] = {}  # oldest first, and their addresses
        self._num_open = self._num_refused = 0
        self._closed = False
        self._sockets = listen(host, port, loopback_only=identity is None)
        self.port: int = self._sockets[0].getsockname()[1]
        io.call(self._start(), timeout=5.0)

    def set_identity(self, identity: Identity) -> None:
        """Show another certificate, or trust others, from the next connection on.

        Raises:
            CertificateError: the identity cannot be used; the old one stays.
        """
        self._admission = _admission(identity)

    def close(self) -> None:
        """Listen no more; may be called twice."""
        with suppress(LinkClosed, TimeoutError):
            self._io.call(self._stop(), timeout=5.0)
        for sock in self._sockets:
            sock.close()

    def is_serving(self) -> bool:
        """For the library, which answers 503 after the end."""
        return not self._closed

    async def _start(self) -> None:
        self._accepting = [asyncio.create_task(self._accept(sock)) for sock in self._sockets]

    async def _stop(self) -> None:
        self._closed = True
        tasks = [*self._accepting, *self._pending]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)

    async def _accept(self, listening: socket.socket) -> None:
        loop = self._io.loop
        while True:
            try:
                sock, address = await loop.sock_accept(listening)
            except OSError as error:
                # Out of descriptors or memory: those who are connected go on, and the next may find some again.
                self._say("accept", f"expected to accept a connection, got {error.strerror or error}: raise ulimit -n")
                await asyncio.sleep(0.1)
                continue
            host = str(address[0])
            if not self._gate.admits(origin(host)):
                line = f"{host}: expected at most {self._limits.rate:g} connections a second, got more: closed"
                self._say((origin(host), "rate"), line)
                sock.close()
            elif self._num_open >= self._limits.max_open:
                line = f"{host}: expected at most {self._limits.max_open} connections, got one more: closed"
                self._say((origin(host), "open"), line)
                sock.close()
            else:
                self._begin(sock, host)

    def _begin(self, sock: socket.socket, host: str) -> None:
        if len(self._pending) >= self._limits.max_pending:
            self._drop_one(host)
        self._num_open += 1
        task = asyncio.create_task(self._admit(sock, host))
        self._pending[task] = host
        task.add_done_callback(self._through)

    def _drop_one(self, newest: str) -> None:
        """The oldest of an address that has most: who comes alone is not dropped for a crowd from elsewhere.

        Args:
            newest: the address of the one that there is no place for.
        """
        counts = Counter([newest, *self._pending.values()])
        most = max(counts[host] for host in self._pending.values())
        oldest = next(task for task, host in self._pending.items() if counts[host] == most)
        del self._pending[oldest]
        oldest.cancel()

    def _through(self, task: asyncio.Task[ChildConnection | None]) -> None:
        self._pending.pop(task, None)
        self._num_refused += task.cancelled() or task.exception() is not None or task.result() is None
        if not self._pending and self._num_refused >= CROWD:
            self._num_refused = 0
            give_back()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a connection was lost to a fault of marl", exc_info=error)
        elif not task.cancelled() and (connection := task.result()) is not None:
            connection.connection_lost_waiter.add_done_callback(self._count_down)
            return
        self._count_down()

    def _count_down(self, *unused: object) -> None:
        self._num_open -= 1

    def _tell(self, line: str) -> None:
        try:
            self._on_refused(line)
        except Exception:  # the owner's fault must not end the accepting
            _log.exception("could not tell: %s", line)

    async def _admit(self, sock: socket.socket, host: str) -> ChildConnection | None:
        """Let one connection in, or say why not."""
        admission = self._admission
        connection: ChildConnection | None = None
        try:
            if admission.context is not None:
                async with asyncio.timeout(self._limits.handshake_s):
                    await look(sock)
            connection = await self._secure(sock, admission.context)
            async with asyncio.timeout(self._limits.handshake_s):
                await connection.handshake(server_header=None)
            if connection.protocol.state is not State.OPEN:  # some ends of a handshake raise nothing
                raise connection.protocol.handshake_exc or ConnectionResetError("the connection ended")
            link = self._link(connection, host, admission.identity)
        except BaseException as error:
            if connection is not None:
                connection.transport.abort()
                error = connection.protocol.handshake_exc or error
            else:
                sock.close()
            if not isinstance(error, OSError | MarlError | WebSocketException):
                raise
            line = self._line(error, host, after_tls=connection is not None)
            # TLS has a handful of reasons, each with another remedy; other errors may quote what a stranger has sent.
            cause = line if isinstance(error, ssl.SSLError) else type(error).__name__
            self._say((origin(host), cause), line)
            return None
        threading.Thread(target=self._hand_over, args=(link,), name=f"link {link.address}", daemon=True).start()
        return connection

    async def _secure(self, sock: socket.socket, context: ssl.SSLContext | None) -> ChildConnection:
        # Browsers name the page that they connect for; no page has a part in this.
        protocol = ServerProtocol(origins=[None], max_size=CHUNK_BYTES, logger=QUIET)
        if context is not None:
            sock = await shake_hands(sock, context, None, self._limits.handshake_s)
        connection = ChildConnection(protocol, self)
        try:
            SocketTransport(sock, connection)
        except OSError:
            sock.close()
            raise
        return connection

    def _link(self, connection: ChildConnection, host: str, identity: Identity | None) -> WebSocketLink:
        node = None
        if identity is not None:
            node = identity.read_peer(connection.transport.get_extra_info("certificate"))
        port = connection.remote_address[1]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return WebSocketLink(
            self._io, connection, address=address, node=node, silence=self._silence, patience=self._patience
        )

    def _line(self, error: BaseException, host: str, *, after_tls: bool) -> str:
        if isinstance(error, TimeoutError) or "taking longer" in str(error):
            return f"{host}: expected a handshake within {self._limits.handshake_s:g} s, got none in full: closed"
        if after_tls and not isinstance(error, MarlError):
            return f"{host}: expected a marl parent, got {type(error).__name__} ({error}): closed"
        return explain(error, here="child", peer=host).line

    def _hand_over(self, link: WebSocketLink) -> None:
        try:
            self._on_link(link)
        except Exception:
            _log.exception("%s: the conversation ended by a fault of marl", link.address)
            link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: Any) -> None:
        self.close()


class _Admission(NamedTuple):
    identity: Identity | None
    context: ssl.SSLContext | None


def _admission(identity: Identity | None) -> _Admission:
    return _Admission(identity, None if identity is None else server_context(identity))
