"""Where children are: what a user may write, and what is refused."""

import pytest

from marl.cluster.addresses import Address, parse_addresses
from marl.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.7", Address("10.0.0.7", 5050)),
        ("10.0.0.7:6000", Address("10.0.0.7", 6000)),
        ("box.lan", Address("box.lan", 5050)),
        ("box.lan:1", Address("box.lan", 1)),
        ("fe80::1", Address("fe80::1", 5050)),
        ("[fe80::1]", Address("fe80::1", 5050)),
        ("[fe80::1%eth0]:6000", Address("fe80::1%eth0", 6000)),
        ("gpu-box-3@10.0.0.7:6000", Address("10.0.0.7", 6000, "gpu-box-3")),
    ],
)
def test_an_address(text: str, expected: Address) -> None:
    assert parse_addresses([text], 5050) == [expected]


@pytest.mark.parametrize(
    "text", ["", ":5050", "a:", "a:b", "a:-1", "a:0", "a:65536", "[::1", "[::1]x", "@a", "a b", "wss://a", "a:²"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^-ip: expected"):
        parse_addresses([text], 5050)


def test_nobody_is_named_twice() -> None:
    with pytest.raises(ConfigError, match="named twice"):
        parse_addresses(["a", "b", "a:5050"], 5050)


def test_an_address_is_written_as_it_is_read() -> None:
    for text in ("10.0.0.7:6000", "[fe80::1]:6000"):
        assert [str(each) for each in parse_addresses([text], 1)] == [text]
