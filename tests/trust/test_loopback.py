"""Which hosts only this machine can reach."""

import socket
from typing import Any

import pytest

from marl.trust.find_identity import is_loopback

LAN = "10.0.0.7"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("LocalHost", True),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        (LAN, False),
        ("fe80::1", False),
        ("127.1", False),  # some resolvers read it as 127.0.0.1, and some as a name
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        (socket.gethostname() + ".", False),
    ],
)
def test_loopback(host: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(name: str, unused_port: None) -> list[Any]:
        assert name.lower() == "localhost"
        return _resolved("127.0.0.1", "::1")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert is_loopback(host) == expected


@pytest.mark.parametrize("addresses", [[], ["127.0.0.1", LAN], [LAN]])
def test_a_localhost_that_is_none(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *unused: _resolved(*addresses))
    assert not is_loopback("localhost")


def test_a_localhost_that_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*unused: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert not is_loopback("localhost")


def _resolved(*addresses: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
