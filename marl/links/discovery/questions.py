"""Ask the local network for a service, again and again, and gather the answers.

Each question leaves from a port of its own, so that it is answered at once and to this process alone (RFC 6762, 6.7).
An answer to everybody would not do: who has given one gives none for the next second, and on a machine where several
processes share port 5353 it is not sure which of them an answer to one reaches.
"""

import contextlib
import ipaddress
import select
import socket
import time
from collections.abc import Sequence
from typing import Any

PORT = 5353
GROUPS = {4: "224.0.0.251", 6: "ff02::fb"}  # where everybody who answers such questions listens
QUERY, TYPE_PTR, CLASS_IN = 0, 12, 1  # numbers of DNS
MAX_PACKET = 9000  # bytes
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 1.0  # seconds between two questions


def ask(zeroconf: Any, service: str, interfaces: Sequence[str], seconds: float) -> set[tuple[str, int]]:
    """Addresses and ports of the services of this type that answer within ``seconds``.

    Args:
        interfaces: addresses of this machine to ask from.

    Raises:
        OSError: none of them lets anybody ask.
    """
    packet = _question(zeroconf, service)
    found: set[tuple[str, int]] = set()
    now = time.monotonic()
    end, ask_at, pause = now + seconds, now, SHORTEST_PAUSE
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(_opened(each)) for each in interfaces]
        while now < end:
            if now >= ask_at:
                _send(sockets, packet)
                ask_at, pause = now + pause, min(2 * pause, LONGEST_PAUSE)
            for each in select.select(sockets, [], [], max(0.0, min(ask_at, end) - now))[0]:
                with contextlib.suppress(OSError):  # an answer that nobody listens for, of an earlier question
                    found |= _services(zeroconf.DNSIncoming(each.recv(MAX_PACKET)), service)
            now = time.monotonic()
    return found


def _question(zeroconf: Any, service: str) -> bytes:
    outgoing = zeroconf.DNSOutgoing(QUERY)
    pointer = zeroconf.DNSQuestion(service, TYPE_PTR, CLASS_IN)
    pointer.unicast = True
    outgoing.add_question(pointer)
    (packet,) = outgoing.packets()
    return bytes(packet)


def _opened(address: str) -> socket.socket:
    """A socket whose questions leave by the network that this address of this machine belongs to."""
    version = ipaddress.ip_address(address).version
    opened = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if version == 6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, _index(address))
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        else:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        opened.bind((address, 0))
    except BaseException:
        opened.close()
        raise
    return opened


def _index(address: str) -> int:
    """The number of the network interface that has this address of IPv6."""
    import ifaddr  # comes with zeroconf

    adapters = ifaddr.get_adapters()
    return next(each.index or 0 for each in adapters if any(ip.is_IPv6 and ip.ip[0] == address for ip in each.ips))


def _send(sockets: Sequence[socket.socket], packet: bytes) -> None:
    """Through each of them.

    Raises:
        OSError: not one could send it.
    """
    errors = []
    for each in sockets:
        try:
            each.sendto(packet, (GROUPS[6 if each.family == socket.AF_INET6 else 4], PORT))
        except OSError as error:
            errors.append(error)
    if errors and len(errors) == len(sockets):
        raise errors[0]


def _services(answer: Any, service: str) -> set[tuple[str, int]]:
    """What one packet says, complete or not: it may come from anybody."""
    records = answer.answers() if answer.valid else []
    kinds = {kind: [each for each in records if type(each).__name__ == kind] for kind in ("DNSService", "DNSAddress")}
    addresses: dict[str, set[str]] = {}
    for each in kinds["DNSAddress"]:
        with contextlib.suppress(ValueError):
            addresses.setdefault(each.name.lower(), set()).add(str(ipaddress.ip_address(each.address)))
    ours = [each for each in kinds["DNSService"] if each.name.lower().endswith(service.lower())]
    return {(address, each.port) for each in ours for address in addresses.get(each.server.lower(), ())}
