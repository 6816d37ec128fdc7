"""Children that say where they are, on the local network, when asked. An address is all that is said.

Nothing of it is believed: who a node is shows its certificate, once a parent connects.
"""

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from marl.errors import ConfigError, LinkClosed, MissingExtra
from marl.links.discovery.questions import ask

SERVICE = "_marl._tcp.local."
LOOPBACK = "127.0.0.1"


class Found(NamedTuple):
    """A child that has announced itself."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@contextlib.contextmanager
def announced(name: str, host: str, port: int) -> Iterator[None]:
    """Announce a child for as long as the block runs.

    Args:
        name: tells it from others; nobody believes it.
        host: the address that it listens on; "" or an unspecified one: all of this machine's.

    Raises:
        MissingExtra: zeroconf is not installed.
        ConfigError: this machine has no address to announce.
        LinkClosed: this machine's network lets nobody announce anything.
    """
    zeroconf = _zeroconf()
    addresses = _reachable(host)
    label = re.sub(r"[^A-Za-z0-9-]", "-", name)[:63]
    info = zeroconf.ServiceInfo(
        SERVICE, f"{label}.{SERVICE}", port=port, parsed_addresses=addresses, server=f"{label}.local."
    )
    with _opened(zeroconf, addresses) as service:
        service.register_service(info, allow_name_change=True)
        yield


def discover(seconds: float, interfaces: Sequence[str] = ()) -> list[Found]:
    """The children that answer within ``seconds``.

    Args:
        interfaces: addresses of this machine to ask from; none: all.

    Raises:
        MissingExtra: zeroconf is not installed.
        ConfigError: one of ``interfaces`` is another machine's, or no address.
        LinkClosed: this machine's network lets nobody ask.
    """
    zeroconf = _zeroconf()
    try:
        found = ask(zeroconf, SERVICE, _interfaces(_own(interfaces)), seconds)
    except OSError as error:
        raise _no_multicast(error) from error
    return sorted(Found(*each) for each in found)


@contextlib.contextmanager
def _opened(zeroconf: Any, addresses: Iterable[str]) -> Iterator[Any]:
    """Speak in the networks that these addresses of this machine belong to, and in no other."""
    try:
        service = zeroconf.Zeroconf(interfaces=_interfaces(addresses))
    except (OSError, RuntimeError) as error:  # RuntimeError: an address of IPv6 that no network here has
        raise _no_multicast(error) from error
    try:
        yield service
    finally:
        service.close()


def _interfaces(addresses: Iterable[str]) -> list[str]:
    """The networks of these addresses of this machine, by one address each; multicast knows one of loopback only."""
    return sorted({LOOPBACK if ipaddress.ip_address(each).is_loopback else each for each in addresses})


def _no_multicast(error: Exception) -> LinkClosed:
    reason = getattr(error, "strerror", None) or error
    return LinkClosed(f"expected a network with multicast for discovery, got {reason}: name addresses with -ip")


def _reachable(host: str) -> list[str]:
    """The addresses under which others reach who listens on ``host``, as ``listen`` understands it."""
    found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    named = {ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found}
    versions = {each.version for each in named if each.is_unspecified}
    # What the host's name means is no help: on many systems that is an address of loopback.
    own = {each for each in map(ipaddress.ip_address, _outward()) if each.version in versions}
    addresses = sorted(str(each) for each in named | own if not each.is_unspecified)
    if not addresses:
        raise ConfigError(
            "expected an address of this machine that others can reach, got loopback only: name the address with -ip"
        )
    return addresses


def _own(interfaces: Sequence[str]) -> list[str]:
    """``interfaces`` if they are this machine's, or all that it has."""
    here = [LOOPBACK, *_outward()]
    for each in interfaces:
        try:
            address = ipaddress.ip_address(each)
        except ValueError:
            address = None
        if address is None or not (address.is_loopback or str(address) in here):
            raise ConfigError(
                f"--interface: expected an address of this machine, got {each}: choose one of {', '.join(here)}"
            )
    return list(interfaces) or here


def _outward() -> list[str]:
    """This machine's addresses that mean the same on other machines: not loopback's, nor IPv6's of one cable."""
    import ifaddr  # comes with zeroconf

    texts = {str(ip.ip if ip.is_IPv4 else ip.ip[0]) for adapter in ifaddr.get_adapters() for ip in adapter.ips}
    found = [ipaddress.ip_address(text) for text in sorted(texts)]
    return [str(each) for each in found if not each.is_loopback and not (each.version == 6 and each.is_link_local)]


def _zeroconf() -> Any:
    try:
        import zeroconf
    except ImportError as error:
        raise MissingExtra("zeroconf", "discovery", "finding children on the network") from error
    return zeroconf
