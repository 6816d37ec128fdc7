"""TLS handshakes in memory: real ones, step by step, without sockets, threads or clocks."""

import ssl
from typing import NamedTuple


class Handshake(NamedTuple):
    server: ssl.SSLObject
    client: ssl.SSLObject
    server_error: ssl.SSLError | None
    client_error: ssl.SSLError | None

    @property
    def done(self) -> bool:
        return self.server_error is None and self.client_error is None


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> Handshake:
    """Let both sides talk until neither has anything to say."""
    to_server, to_client, from_server, from_client = (ssl.MemoryBIO() for _ in range(4))
    sides = {
        "server": server.wrap_bio(to_server, from_server, server_side=True),
        "client": client.wrap_bio(to_client, from_client, server_hostname=name),
    }
    errors: dict[str, ssl.SSLError] = {}
    for _ in range(8):
        for side, connection in sides.items():
            if side in errors:
                continue
            try:
                connection.do_handshake()
                connection.read(1)  # in TLS 1.3 a client learns of its refusal only here
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                errors[side] = error
        to_server.write(from_client.read())
        to_client.write(from_server.read())
    return Handshake(sides["server"], sides["client"], errors.get("server"), errors.get("client"))


def meet_bytes(context: ssl.SSLContext, data: bytes, *, server_side: bool, ends: bool = False) -> ssl.SSLError | None:
    """What a side says of a peer that sends ``data`` instead of TLS, and perhaps hangs up."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(
        incoming, outgoing, server_side=server_side, server_hostname=None if server_side else "a.cluster.internal"
    )
    incoming.write(data)
    if ends:
        incoming.write_eof()
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        return None
    except ssl.SSLError as error:
        return error
    raise AssertionError("a handshake without a partner")
