"""Children that announce themselves are found, with their address and nothing else, and only while they are there."""

import sys

import pytest

from marl.errors import MissingExtra
from marl.links.discovery import Found, announced, discover

HERE = ["127.0.0.1"]


def test_who_announces_itself_is_found() -> None:
    with announced("0fb9d6-5050", "127.0.0.1", 5050), announced("0fb9d6-5051", "127.0.0.1", 5051):
        assert discover(0.7, HERE) == [Found("127.0.0.1", 5050), Found("127.0.0.1", 5051)]


def test_nobody_is_there() -> None:
    assert discover(0.2, HERE) == []


def test_without_the_extra_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(MissingExtra, match=r"pip install 'marl\[discovery\]'"):
        discover(0.1)


def test_an_address_is_written_as_ip_takes_it() -> None:
    assert [str(Found("10.0.0.7", 5050)), str(Found("fe80::1", 1))] == ["10.0.0.7:5050", "[fe80::1]:1"]
