"""What asyncio keeps to itself is where it is looked for; where it is not, links still work."""

import pytest

from marl.links import connection
from marl.links.below_tls import below_tls
from marl.links.loop import IOLoop
from marl.trust.identity import Identity
from marl.wire.message import Kind, Message
from marl.wire.places import fresh
from tests.links.pairs import WAIT_S, websocket_pair

MESSAGE = Message(Kind.UPLOAD, "child:5050", 1, 2, 3, {"weights": bytes(300_000)}, {})


def test_asyncio_still_has_ssl_protocol_and_in_it_transport_and_buffer_updated(
    io: IOLoop, parent: Identity, child: Identity
) -> None:
    with websocket_pair(io, parent, child) as (here, there):
        for link in (here, there):
            transport = link._connection.transport
            lacking = [name for name in ("_ssl_protocol",) if not hasattr(transport, name)] or [
                f"_ssl_protocol.{name}"
                for name in ("_transport", "buffer_updated")
                if not hasattr(transport._ssl_protocol, name)
            ]
            assert not lacking, f"this Python's TLS transport has no {lacking}: mend marl/links/below_tls.py"
            below = below_tls(transport)
            assert below is not None
            assert below.unsent() == 0
        here.send(MESSAGE)
        assert there.recv(WAIT_S, fresh).kind == Kind.UPLOAD
    assert below.unsent() == 0  # and after the end


@pytest.mark.parametrize("kept", [(), ("_transport",), ("buffer_updated",)], ids=str)
def test_where_it_is_elsewhere_there_is_nothing_to_ask(kept: tuple[str, ...]) -> None:
    class Protocol:
        pass

    class Transport:
        _ssl_protocol = Protocol()

    for name in kept:
        setattr(Transport._ssl_protocol, name, None)
    assert below_tls(Transport()) is None  # type: ignore[arg-type]


def test_a_link_works_without(io: IOLoop, parent: Identity, child: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "below_tls", lambda transport: None)
    with websocket_pair(io, parent, child) as (here, there):
        here.send(MESSAGE)
        assert there.recv(WAIT_S, fresh).kind == Kind.UPLOAD
        assert here._connection.unsent() == here._connection.transport.get_write_buffer_size()
