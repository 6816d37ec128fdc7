"""Children that say where they are, on the local network, to whoever asks. An address is all that is said.

Nothing of it is believed: who a node is shows its certificate, once a parent connects.
"""

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from marl.errors import LinkClosed, MissingExtra

SERVICE = "_marl._tcp.local."


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
        LinkClosed: this machine's network lets nobody announce anything.
    """
    zeroconf = _zeroconf()
    addresses = _addresses(host)
    label = re.sub(r"[^A-Za-z0-9-]", "-", name)[:63]
    info = zeroconf.ServiceInfo(
        SERVICE, f"{label}.{SERVICE}", port=port, parsed_addresses=addresses, server=f"{label}.local."
    )
    with _opened(zeroconf, addresses) as service:
        service.register_service(info, allow_name_change=True)
        yield


def discover(seconds: float, interfaces: list[str] | None = None) -> list[Found]:
    """The children that answer within so many seconds.

    Args:
        interfaces: addresses of this machine to ask from; None: all.

    Raises:
        MissingExtra: zeroconf is not installed.
        LinkClosed: this machine's network lets nobody ask.
    """
    zeroconf = _zeroconf()
    names: set[str] = set()

    def changed(zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        names.add(name)

    with _opened(zeroconf, interfaces or []) as service:
        browser = zeroconf.ServiceBrowser(service, SERVICE, handlers=[changed])
        time.sleep(seconds)  # whoever is there answers in this time; nobody knows how many will
        browser.cancel()
        infos = [service.get_service_info(SERVICE, name, timeout=1000) for name in sorted(names)]
    found = {Found(address, info.port) for info in infos if info for address in info.parsed_addresses()}
    return sorted(found)


@contextlib.contextmanager
def _opened(zeroconf: Any, interfaces: list[str]) -> Iterator[Any]:
    loopback = bool(interfaces) and all(each.startswith("127.") for each in interfaces)
    try:
        service = zeroconf.Zeroconf(interfaces=["127.0.0.1"]) if loopback else zeroconf.Zeroconf()
    except OSError as error:
        raise LinkClosed(
            f"expected a network with multicast for discovery, got {error.strerror or error}: name addresses with -ip"
        ) from error
    try:
        yield service
    finally:
        service.close()


def _addresses(host: str) -> list[str]:
    if host not in ("", "0.0.0.0", "::"):
        return sorted({str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    with contextlib.suppress(OSError):
        own = {str(each[4][0]) for each in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)}
        return sorted(each for each in own if not each.startswith(("127.", "::1", "fe80")))
    return []


def _zeroconf() -> Any:
    try:
        import zeroconf
    except ImportError as error:
        raise MissingExtra("zeroconf", "discovery", "finding children on the network") from error
    return zeroconf
