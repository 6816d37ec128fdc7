"""The parent's side: connect to a child."""

import asyncio
import ipaddress
import os
import socket
import ssl

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.uri import WebSocketURI

from marl.errors import ConfigError, LinkClosed, MarlError, TrustError
from marl.links.websocket.connection import QUIET, ParentConnection
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.tls import shake_hands
from marl.links.websocket.transport import SocketTransport
from marl.trust.identity import Identity
from marl.trust.tls.contexts import client_context
from marl.trust.tls.explain import explain
from marl.trust.tls.peers import Peer
from marl.wire.payload import CHUNK_BYTES
from marl.words import printable


def connect(
    io: IOLoop,
    host: str,
    port: int,
    identity: Identity | None,
    *,
    timeout: float = 5.0,
    silence: float = 5.0,
    patience: float = 20.0,
) -> WebSocketLink:
    """Open a link to the child at ``host`` and ``port``. No proxy is asked, and nobody can send us elsewhere.

    Args:
        identity: None speaks without TLS, to this machine only.
        timeout: seconds for everything: the name, the connection, TLS and the upgrade.
        silence: see ``WebSocketLink``.
        patience: see ``WebSocketLink``.

    Raises:
        LinkClosed: nobody answered, or not in full; another try may end otherwise.
        TrustError: one side must not trust the other; another try will end the same.
        ConfigError: this can be no address, or none to speak to without TLS.
    """
    context = None if identity is None else client_context(identity)
    attempt = _Attempt(io, host, port, context, identity)
    try:
        return io.call(attempt.run(timeout, silence=silence, patience=patience), timeout + 5.0)
    except TimeoutError as error:  # the loop itself did not come to it
        raise LinkClosed(f"{attempt.address}: expected a link within {timeout:g} s, got none: try again") from error


class _Attempt:
    """One try to connect."""

    def __init__(
        self, io: IOLoop, host: str, port: int, context: ssl.SSLContext | None, identity: Identity | None
    ) -> None:
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._io = io
        self._host = host
        self._port = port
        self._context = context
        self._identity = identity

    async def run(self, timeout: float, *, silence: float, patience: float) -> WebSocketLink:
        try:
            async with asyncio.timeout(timeout):
                connection = await self._upgrade(await self._dial(timeout), timeout)
        except TimeoutError as error:
            raise LinkClosed(
                f"{self.address}: expected an answer within {timeout:g} s, got none: see whether the machine is up, "
                "a marl child runs there and no firewall is in between"
            ) from error
        try:
            return WebSocketLink(
                self._io,
                connection,
                address=self.address,
                node=self._read_peer(connection),
                silence=silence,
                patience=patience,
            )
        except MarlError as error:
            connection.transport.abort()
            raise TrustError(explain(error, here="parent", peer=self.address).line) from error

    def _read_peer(self, connection: ParentConnection) -> Peer | None:
        if self._identity is None:
            return None
        return self._identity.read_peer(connection.transport.get_extra_info("certificate"))

    async def _dial(self, timeout: float) -> socket.socket:
        """A TCP connection to the first address of the name that answers."""
        loop = self._io.loop
        if not 0 < self._port < 65536:  # getaddrinfo would take the rest of the division
            raise ConfigError(f"expected a port from 1 to 65535, got {self._port}")
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise LinkClosed(
                f"{self.address}: expected an address of {self._host}, got {error.strerror}: check the name"
            ) from error
        except ValueError as error:
            raise ConfigError(f"expected a host name or address, got {self._host!r}: {error}") from error
        if self._context is None and not all(ipaddress.ip_address(each[4][0]).is_loopback for each in found):
            raise ConfigError(
                f"expected an address of this machine with --insecure, got {self.address}: use a key or a ticket"
            )
        trouble = OSError("no address")
        until = loop.time() + timeout
        for tried, (family, kind, number, _, address) in enumerate(found):
            sock = socket.socket(family, kind, number)
            try:
                sock.setblocking(False)
                # A first address that never answers must leave time for the others.
                async with asyncio.timeout((until - loop.time()) / (len(found) - tried)):
                    await loop.sock_connect(sock, address)
                return sock
            except OSError as error:  # TimeoutError is one
                sock.close()
                trouble = error
            except BaseException:
                sock.close()
                raise
        if isinstance(trouble, TimeoutError):
            raise trouble
        reason = os.strerror(trouble.errno).lower() if trouble.errno else trouble
        raise LinkClosed(
            f"{self.address}: expected a marl child, got {reason}: start marl child there, or check address and port"
        ) from trouble

    async def _upgrade(self, sock: socket.socket, timeout: float) -> ParentConnection:
        """TLS, then the opening handshake of a WebSocket."""
        secure = self._context is not None
        uri = WebSocketURI(secure, self._host, self._port, "/", "", None, None)
        protocol = ClientProtocol(uri, max_size=CHUNK_BYTES, logger=QUIET)
        connection = ParentConnection(protocol)
        try:
            if self._context is not None and self._identity is not None:
                name = self._identity.server_name or self._host
                sock = await shake_hands(sock, self._context, name, timeout)
            SocketTransport(sock, connection)
        except OSError as error:
            sock.close()
            raise self._refused(error) from error
        except ValueError as error:
            sock.close()
            raise ConfigError(f"expected a name that a certificate can carry, got {name}: {error}") from error
        try:
            await connection.handshake(user_agent_header=None)
        except BaseException as error:
            connection.transport.abort()
            if isinstance(error, InvalidMessage | OSError) and secure:
                # With TLS 1.3 the child's refusal of our certificate comes only now.
                raise self._refused(connection.connection_exc or error) from error
            if isinstance(error, InvalidHandshake | OSError):
                came = error.response.status_code if isinstance(error, InvalidStatus) else printable(str(error), 200)
                if isinstance(error, InvalidMessage):
                    came = "something else than a WebSocket's answer"
                raise LinkClosed(
                    f"{self.address}: expected a marl child, got {came}: check address and port, "
                    "and that both sides or none run with --insecure"
                ) from error
            raise
        return connection

    def _refused(self, error: BaseException) -> MarlError:
        refusal = explain(error, here="parent", peer=self.address)
        return TrustError(refusal.line) if refusal.permanent else LinkClosed(refusal.line)
