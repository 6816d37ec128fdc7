"""Who knocks at a real child's door, and parents that break their word: each is told why, and the next is served."""

import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from marl.cluster.find_spaces import find_spaces
from marl.cluster.handshake import HELLO_S, make_hello, offer, payload_of
from marl.config.files import load_config
from marl.errors import HandshakeRefused, LinkError
from marl.links.websocket.client import connect
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.trust.identity import Identity, identity_from_keys
from marl.trust.keys import KeyRing, create_keys, key_path
from marl.wire.hello import Hello
from marl.wire.message import Kind, Message
from marl.wire.protocol import foreign_protocol
from marl.wire.receive_buffers import no_buffers
from tests.commands import FACTOR
from tests.faults.runs import RUN, peak_bytes
from tests.slow.cluster import Child, child, parent, wait_for_rounds
from tests.trust.test_refusals import BAD_CLIENTS

MIB = 1024 * 1024

pytestmark = pytest.mark.usefixtures("marl_home")


@pytest.fixture
def ring(marl_home: Path) -> KeyRing:
    """The key of this cluster."""
    return create_keys(key_path(marl_home))[0]


@pytest.fixture
def us(ring: KeyRing) -> Identity:
    """A parent of this cluster."""
    return identity_from_keys(ring, "parent", "desk-1")


def test_strangers_are_told_why_and_the_owner_is_let_in(ring: KeyRing, us: Identity, tmp_path: Path) -> None:
    """Everyone of a list of clients that must not come in, at a child as the command starts it (S1, S10)."""
    other = create_keys(tmp_path / "other.key")[0]
    heard = set()
    with child(tmp_path) as only:
        for client, says, _ in BAD_CLIENTS:
            with (
                suppress(OSError),
                client(us, ring, other).wrap_socket(
                    socket.create_connection(("127.0.0.1", only.port), 10), server_hostname=us.server_name
                ) as tls,
            ):
                tls.sendall(b"GET / HTTP/1.1\r\nHost: marl\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                assert tls.recv(1) == b""
            if says not in heard:  # the same line is said once in a while
                only.wait(f"^127.0.0.1: .*{re.escape(says)}")
            heard.add(says)
        with parent(tmp_path, [only], *RUN) as run:
            run.wait("children 1/1")
            wait_for_rounds(run, tmp_path)
            assert run.end(signal.SIGINT) == 128 + signal.SIGINT
        assert len([line for line in only.lines if " starts run " in line]) == 1
        assert only.end(signal.SIGTERM) == 0
        assert only.errors == []


@contextmanager
def meeting(only: Child, us: Identity) -> Iterator[WebSocketLink]:
    """A link to a child that has let us in."""
    with IOLoop() as io:
        link = connect(io, "127.0.0.1", only.port, us)
        try:
            yield link
        finally:
            link.close()


@pytest.fixture(scope="module")
def offered() -> tuple[Hello, int]:
    """What a parent of CartPole-v1 offers, and its longest payload."""
    config = load_config("CartPole-v1", {"seed": 1})
    spaces = find_spaces(config)
    network = config.algorithm.build_network(spaces, config.network, 0)
    hello = make_hello(config, spaces, network, run_id="run", term=1, instance="abc")
    return hello, payload_of(config, spaces, network)


DIFFERENCES: list[tuple[dict[str, Any], str]] = [
    ({"environment": {"id": "Missing-v7"}}, "Missing-v7"),
    ({"oldest_protocol": 7, "newest_protocol": 9}, foreign_protocol("7 to 9")),
    ({"fingerprint": "0" * 64}, "network fingerprint: parent 000000000000, child "),
    ({"num_bytes": 4}, "bytes of weights: parent 4, child 36620"),
    (
        {"spaces": "observations: [8] of float32; actions: of 4 categories"},
        "observations: parent [8] of float32, child [4] of float32; environment actions: parent of 4 categories, child "
        "of 2 categories",
    ),
]


@pytest.mark.slow
def test_who_differs_and_who_breaks_its_word(us: Identity, offered: tuple[Hello, int], tmp_path: Path) -> None:
    """Both ends name both values within a second of being known (D8); answers of other sizes and kinds are refused from
    their headers, without memory (D5); who says nothing is sent away; and then the next parent is served.
    """
    hello, max_bytes = offered
    with child(tmp_path) as only:
        with meeting(only, us) as silent:
            for changes, says in DIFFERENCES:
                with meeting(only, us) as link:
                    start = time.monotonic()
                    with pytest.raises(HandshakeRefused, match=re.escape(says)):
                        offer(link, msgspec.structs.replace(hello, **changes), max_bytes, name="desk-1")
                    if changes != DIFFERENCES[0][0]:  # the first has it import the environments
                        assert time.monotonic() - start < FACTOR
                only.wait(f"^a parent is turned away: .*{re.escape(says)}")
            break_a_word(only, us, hello, max_bytes)
            with pytest.raises(LinkError):
                silent.recv(2 * HELLO_S, no_buffers)
            only.wait(rf"^127.0.0.1:\d+: expected a message within {HELLO_S:g} s, none came")
        with parent(tmp_path, [only], *RUN) as run:
            run.wait("children 1/1")
            wait_for_rounds(run, tmp_path)
            assert run.end(signal.SIGINT) == 128 + signal.SIGINT
        assert only.end(signal.SIGTERM) == 0
        assert only.errors == []


def break_a_word(only: Child, us: Identity, hello: Hello, max_bytes: int) -> None:
    """Agree, and then send something else."""
    num_weights = hello.num_bytes // 4
    others = {
        "one too few": {"weights": torch.zeros(num_weights - 1)},
        "of another kind": {"weights": torch.zeros(num_weights // 2, dtype=torch.float64)},
        "elsewhere": {"../../weights": torch.zeros(num_weights)},
        "too long": {"weights": torch.zeros(64 * MIB // 4)},
    }
    with meeting(only, us) as link:
        offer(link, hello, max_bytes, name="desk-1")
        before = peak_bytes(only.contact)
        link.limit(2**40)
        for arrays in others.values():
            with suppress(LinkError):  # after the last one it wants no more
                link.send(Message(Kind.ANSWER, "desk-1", 1, 1, arrays=arrays, info={"steps": 0}))
        with suppress(LinkError):
            while link.recv(10.0, no_buffers):
                pass
        assert peak_bytes(only.contact) - before < 16 * MIB
    only.wait("^run run is over here: its parent was gone before it had sent weights .*expected")
