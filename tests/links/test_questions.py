"""Questions to the local network are answered at once, however often they are asked."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import zeroconf

from marl.errors import LinkClosed
from marl.links.discovery import questions
from marl.links.discovery.discover import SERVICE, announced, discover
from marl.links.discovery.questions import _services, ask
from tests.commands import FACTOR

HERE = ["127.0.0.1"]
WINDOW = 0.3 * FACTOR  # less than the second for which nobody repeats an answer to everybody


@pytest.fixture(scope="module", autouse=True)
def _child() -> Iterator[None]:
    with announced("0fb9d6-5050", "127.0.0.1", 5050):  # which takes a second or two
        yield


def test_who_has_just_answered_answers_again() -> None:
    assert [ask(zeroconf, SERVICE, HERE, WINDOW) for unused in range(3)] == [{("127.0.0.1", 5050)}] * 3


def test_a_question_that_was_lost_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    send, lost = questions._send, []

    def lossy(sockets: list[socket.socket], packet: bytes) -> None:
        if lost:
            send(sockets, packet)
        else:
            lost.append(packet)

    monkeypatch.setattr(questions, "_send", lossy)
    assert ask(zeroconf, SERVICE, HERE, WINDOW) == {("127.0.0.1", 5050)}


@pytest.mark.parametrize("packet", [b"", b"marl", b"\xff" * 9000, b"\0" * 12, b"\0\0\x84\0" + b"\xff" * 8])
def test_an_answer_that_makes_no_sense_says_nothing(packet: bytes) -> None:
    assert _services(zeroconf.DNSIncoming(packet), SERVICE) == set()


@pytest.mark.parametrize("service", ["_other._tcp.local.", SERVICE])
def test_only_answers_about_the_service_count(service: str) -> None:
    outgoing = zeroconf.DNSOutgoing(0x8400)  # an answer
    words: tuple[Any, ...] = (1, 120)
    outgoing.add_answer_at_time(zeroconf.DNSService(f"a.{service}", 33, *words, 0, 0, 5050, "A.local."), 0)
    outgoing.add_answer_at_time(zeroconf.DNSAddress("a.local.", 1, *words, socket.inet_aton("10.0.0.7")), 0)
    found = _services(zeroconf.DNSIncoming(outgoing.packets()[0]), SERVICE)
    assert found == ({("10.0.0.7", 5050)} if service == SERVICE else set())


def test_a_machine_whose_networks_let_nobody_ask_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(unused: Any) -> socket.socket:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(questions, "_opened", refuse)
    with pytest.raises(LinkClosed, match="got Network is unreachable: name addresses with -ip"):
        discover(0.1, HERE)
