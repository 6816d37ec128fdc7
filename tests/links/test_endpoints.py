"""What ``marl.wire.endpoint`` promises, kept by who dials and by who listens."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from marl.errors import LinkClosed, TrustError
from marl.links.websocket import dialer
from marl.links.websocket.dialer import LONGEST_PAUSE, SHORTEST_PAUSE, Dialer
from marl.links.websocket.listener import Listener
from marl.links.websocket.loop import IOLoop
from marl.trust.identity import Identity
from marl.trust.nodes import NodeBook
from marl.wire.endpoint import Endpoint
from marl.wire.message import Kind, Message
from marl.wire.receive_buffers import no_buffers
from tests.commands import until
from tests.links.pairs import WAIT_S, Background


@pytest.fixture
def listener(io: IOLoop, child: Identity) -> Iterator[Listener]:
    with Listener(io, "127.0.0.1", 0, child, lambda line: None) as opened:
        yield opened


def dials(io: IOLoop, parent: Identity, listener: Listener, **options: Any) -> Dialer:
    return Dialer(io, "127.0.0.1", listener.port, lambda: parent, **options)


def test_both_ends_meet_and_what_they_met_outlives_them(io: IOLoop, parent: Identity, listener: Listener) -> None:
    endpoint: Endpoint = dials(io, parent, listener)
    assert endpoint.address == listener.address == f"127.0.0.1:{listener.port}"
    with closing(endpoint.meet()) as here, closing(listener.meet()) as there:
        assert (here.peer, there.peer) == ("box-5050", "desk-1")
        assert here.address == endpoint.address
        endpoint.close()
        listener.close()
        here.send(Message(Kind.FLUSH, "parent"))
        assert there.recv(WAIT_S, no_buffers).sender == "parent"


def test_close_ends_who_waits_and_who_comes_later(io: IOLoop, parent: Identity, listener: Listener) -> None:
    endpoint = dials(io, parent, listener)
    link = endpoint.meet()
    listener.meet().close()
    ends: Queue[Endpoint] = Queue()

    def meets(any_endpoint: Endpoint) -> None:
        for _ in range(2):
            with pytest.raises(LinkClosed, match="no more"):
                any_endpoint.meet()
        ends.put(any_endpoint)

    waiting = [Background(lambda: meets(endpoint)), Background(lambda: meets(listener))]
    for each in (endpoint, listener, endpoint, listener):
        each.close()
    for each in waiting:
        each.end()
    assert ends.qsize() == 2
    link.close()


def test_links_that_nobody_asked_for_end_with_the_listener(io: IOLoop, parent: Identity, listener: Listener) -> None:
    with closing(dials(io, parent, listener).meet()) as here:
        until(lambda: not listener._links.empty())
        listener.close()
        with pytest.raises(LinkClosed):
            here.recv(WAIT_S, no_buffers)
        with pytest.raises(LinkClosed, match="listens no more"):
            listener.meet()


def test_who_dials_hands_over_one_link_at_a_time(io: IOLoop, parent: Identity, listener: Listener) -> None:
    endpoint, met = dials(io, parent, listener), Queue[Any]()
    first = endpoint.meet()
    there = listener.meet()
    again = Background(lambda: met.put(endpoint.meet()))
    assert met.empty()
    there.close()  # only now is there another
    with pytest.raises(LinkClosed):
        first.recv(WAIT_S, no_buffers)
    with closing(met.get(timeout=WAIT_S)) as second, closing(listener.meet()):
        assert second is not first
    again.end()


class Pauses(threading.Event):
    """How long it was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.all.append(timeout)
        return self.is_set()


def test_tries_that_fail_come_ever_more_seldom(io: IOLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*unused: Any) -> None:
        raise LinkClosed("nobody answered")

    monkeypatch.setattr(dialer, "connect", nobody)
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    endpoint = Dialer(io, "box", 5050, lambda: None)
    endpoint._closed = pauses = Pauses()
    for _ in range(8):
        with pytest.raises(LinkClosed, match="nobody answered"):
            endpoint.meet()
    assert pauses.all == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    assert endpoint._tried_at is not None
    endpoint._tried_at -= LONGEST_PAUSE + 1  # the last link lasted
    with pytest.raises(LinkClosed, match="nobody answered"):
        endpoint.meet()
    assert pauses.all[-1] == SHORTEST_PAUSE


def test_another_node_than_the_named_one_is_refused(io: IOLoop, parent: Identity, listener: Listener) -> None:
    endpoint = dials(io, parent, listener, node="attic")
    with pytest.raises(TrustError, match=rf"^{endpoint.address}: expected the node attic, got box-5050: "):
        endpoint.meet()
    with closing(listener.meet()) as there, pytest.raises(LinkClosed):
        there.recv(WAIT_S, no_buffers)
    with closing(dials(io, parent, listener, node="box-5050").meet()):
        listener.meet().close()


def test_a_revoked_node_is_refused_and_told_of_while_it_speaks(
    io: IOLoop, parent: Identity, listener: Listener, tmp_path: Path
) -> None:
    book = NodeBook(tmp_path / "nodes")
    endpoint = dials(io, parent, listener, book=book)
    endpoint.check()  # nobody has come
    with closing(endpoint.meet()), closing(listener.meet()):
        assert [node.name for node in book.nodes()] == ["box-5050"]
        endpoint.check()
        book.revoke("box-5050")
        with pytest.raises(TrustError, match="revoked"):
            endpoint.check()
    with pytest.raises(TrustError, match="revoked"):
        dials(io, parent, listener, book=book).meet()
    with closing(listener.meet()) as there, pytest.raises(LinkClosed):
        there.recv(WAIT_S, no_buffers)
