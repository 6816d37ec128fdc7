"""Who may knock: limits that a crowd of strangers meets before any of them costs much."""

import threading
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


class Echoes:
    """Lets a line through once in ``pause`` seconds: a thousand knocks are one line."""

    def __init__(self, tell: Callable[[str], None], pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()  # guards _told
        self._told: dict[str, float] = {}

    def __call__(self, line: str) -> None:
        now = self._clock()
        with self._lock:
            fresh = now - self._told.pop(line, -self._pause) >= self._pause
            self._told[line] = now
            if len(self._told) > _MAX_ADDRESSES:
                del self._told[next(iter(self._told))]
        if fresh:
            self._tell(line)
