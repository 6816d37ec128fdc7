"""Who may knock: limits that a crowd of strangers meets before any of them costs much."""

import ipaddress
import time
from collections.abc import Callable

_MAX_ADDRESSES = 4096


class Gate:
    """A token bucket for each remote address: ``burst`` connections at once, then ``rate`` a second."""

    def __init__(self, burst: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._rate = rate
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and when they were counted

    def admits(self, address: str) -> bool:
        """Whether one more connection from ``address`` is within its limit."""
        now = self._clock()
        tokens, counted = self._buckets.pop(address, (self._burst, now))
        tokens = min(self._burst, tokens + (now - counted) * self._rate)
        admitted = tokens >= 1.0
        # Put in again at the end: the first is the one that was quiet longest, and may be forgotten.
        self._buckets[address] = (tokens - 1.0 if admitted else tokens, now)
        if len(self._buckets) > _MAX_ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        return admitted


def origin(host: str) -> str:
    """Whose address this is: with IPv6 one customer has at least 2^64 of them."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
