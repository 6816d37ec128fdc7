"""Children that announce themselves are found, with their address and nothing else, and only while they are there."""

import sys
from typing import Any

import ifaddr
import pytest
import zeroconf

from marl.errors import ConfigError, MissingExtra
from marl.links.discovery import discover as discovery
from marl.links.discovery.discover import Found, announced, discover

HERE = ["127.0.0.1"]


class Recorder:
    """Stands in for zeroconf: keeps where it was to speak and what it was to say."""

    spoken: tuple[list[str], list[str]] | None = None  # interfaces, addresses announced there

    def __init__(self, interfaces: list[str]) -> None:
        self.interfaces = interfaces
        Recorder.spoken = (interfaces, [])

    def register_service(self, info: zeroconf.ServiceInfo, **unused_options: Any) -> None:
        Recorder.spoken = (self.interfaces, info.parsed_addresses())

    def close(self) -> None:
        pass


@pytest.fixture
def adapters(monkeypatch: pytest.MonkeyPatch) -> list[ifaddr.Adapter]:
    """What this machine seems to be connected by: loopback, and what a test adds."""
    found = [adapter("lo", "127.0.0.1", "::1")]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: found)
    monkeypatch.setattr(zeroconf, "Zeroconf", Recorder)
    return found


def adapter(name: str, *addresses: str) -> ifaddr.Adapter:
    ips = [ifaddr.IP((each, 0, 0) if ":" in each else each, 24, name) for each in addresses]
    return ifaddr.Adapter(name, name, ips)


@pytest.mark.slow  # a real command does the same in tests/cli
def test_who_announces_itself_is_found() -> None:
    with announced("0fb9d6-5050", "127.0.0.1", 5050), announced("0fb9d6-5051", "127.0.0.1", 5051):
        assert discover(0.7, HERE) == [Found("127.0.0.1", 5050), Found("127.0.0.1", 5051)]


def test_nobody_is_there() -> None:
    assert discover(0.2, HERE) == []


@pytest.mark.parametrize(
    ("host", "reachable"),
    [
        ("0.0.0.0", ["10.0.0.7"]),
        ("::", ["fd00::7"]),
        ("", ["10.0.0.7", "fd00::7"]),
        ("10.0.0.7", ["10.0.0.7"]),
        ("127.0.0.1", ["127.0.0.1"]),
    ],
)
def test_what_others_can_reach_is_announced_and_nowhere_else(
    host: str, reachable: list[str], adapters: list[ifaddr.Adapter]
) -> None:
    adapters.append(adapter("eth0", "10.0.0.7", "fd00::7", "fe80::7"))
    with announced("0fb9d6-5050", host, 5050):
        assert Recorder.spoken == (reachable, reachable)


@pytest.mark.usefixtures("adapters")
def test_who_has_no_address_to_announce_is_told() -> None:
    with pytest.raises(ConfigError, match="name the address with -ip"), announced("0fb9d6-5050", "0.0.0.0", 5050):
        pass


@pytest.mark.parametrize(
    ("interfaces", "asked"),
    [
        (["10.0.0.7"], ["10.0.0.7"]),
        (["127.0.0.1", "127.0.0.2"], ["127.0.0.1"]),
        ([], ["10.0.0.7", "127.0.0.1", "fd00::7"]),
    ],
)
def test_questions_leave_by_the_interfaces_that_are_named(
    interfaces: list[str], asked: list[str], adapters: list[ifaddr.Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapters.append(adapter("eth0", "10.0.0.7", "fd00::7"))
    spoken: list[str] = []

    def ask(unused_zeroconf: Any, unused_service: str, interfaces: list[str], unused_seconds: float) -> set[Any]:
        spoken.extend(interfaces)
        return set()

    monkeypatch.setattr(discovery, "ask", ask)
    assert discover(0.0, interfaces) == []
    assert spoken == asked


@pytest.mark.parametrize("interface", ["10.0.0.8", "eth0"])
def test_an_interface_is_named_by_an_address_of_this_machine(interface: str, adapters: list[ifaddr.Adapter]) -> None:
    adapters.append(adapter("eth0", "10.0.0.7"))
    with pytest.raises(ConfigError, match=rf"got {interface}: choose one of 127\.0\.0\.1, 10\.0\.0\.7"):
        discover(0.0, [interface])


def test_without_the_extra_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(MissingExtra, match=r"pip install 'marl-cluster\[discovery\]'"):
        discover(0.1)


def test_an_address_is_written_as_ip_takes_it() -> None:
    assert [str(Found("10.0.0.7", 5050)), str(Found("fe80::1", 1))] == ["10.0.0.7:5050", "[fe80::1]:1"]
