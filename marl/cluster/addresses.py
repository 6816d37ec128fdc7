"""Parse the addresses of children: a host, optionally a port of its own, optionally the name of the node."""

from collections.abc import Iterable
from typing import NamedTuple

from marl.errors import ConfigError


class Address(NamedTuple):
    """One child, as the user named it."""

    host: str
    port: int
    node: str | None = None  # the node id that must answer there

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_addresses(texts: Iterable[str], port: int) -> list[Address]:
    """Read ``-ip`` values: ``10.0.0.7``, ``10.0.0.7:6000``, ``[fe80::1]:6000``, ``box.lan``, ``name@10.0.0.7``.

    Raises:
        ConfigError: a text is no address, or an address occurs twice.
    """
    found: list[Address] = []
    for text in texts:
        address = _parse(text, port)
        if address in found:
            raise ConfigError(f"-ip: {address} is named twice: name each child once")
        found.append(address)
    return found


def _parse(text: str, port: int) -> Address:
    node, separator, rest = text.rpartition("@")
    host, own_port = rest, ""
    if rest.startswith("["):
        host, closed, own_port = rest[1:].partition("]")
        if not closed or (own_port and not own_port.startswith(":")):
            raise _wrong(text)
        own_port = own_port.removeprefix(":")
    elif rest.count(":") == 1:
        host, _, own_port = rest.partition(":")
    elif ":" in rest:  # an IPv6 address without brackets can have no port
        host = rest
    if not host or any(letter.isspace() for letter in host) or "/" in host or (separator and not node):
        raise _wrong(text)
    if own_port or rest.endswith(":"):
        if not own_port.isascii() or not own_port.isdigit():
            raise _wrong(text)
        port = int(own_port)
    if not 1 <= port <= 65535:
        raise ConfigError(f"-ip: expected a port of 1 to 65535, got {port} in {text!r}")
    return Address(host, port, node or None)


def _wrong(text: str) -> ConfigError:
    return ConfigError(
        f"-ip: expected an address like 10.0.0.7, 10.0.0.7:6000, [fe80::1]:6000 or box.lan, got {text!r}"
    )
