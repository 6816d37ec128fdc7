"""Lines of a log that others cause, limited in rate: none of them can drown what else is said."""

import threading
import time
from collections.abc import Callable, Hashable

from marl.words import printable

_MAX_CAUSES = 4096


class LogThrottle:
    """Passes on lines that others cause: of one cause a few at once and then one in a while, of all causes together
    not many more; the next that passes tells how many did not.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        *,
        burst: int = 3,
        every_s: float = 10.0,
        burst_of_all: int = 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            burst: lines of one cause at once.
            every_s: seconds until one more of them may pass.
            burst_of_all: lines of all causes at once; of these, one more a second.
        """
        self._tell, self._clock = tell, clock
        self._burst, self._every_s, self._burst_of_all = burst, every_s, burst_of_all
        self._lock = threading.Lock()  # guards the rest
        self._buckets: dict[Hashable, _Bucket] = {}
        self._all = _Bucket(burst_of_all, clock())

    def __call__(self, cause: Hashable, line: str) -> None:
        """Tell ``line``, which is one of many that ``cause`` may give rise to."""
        with self._lock:
            left_out = self._admit(cause)
        if left_out is not None:
            more = f" ({left_out:,} more lines like this were left out)" if left_out else ""
            self._tell(printable(line) + more)

    def _admit(self, cause: Hashable) -> int | None:
        """How many lines were left out before this one; None if this one is, too."""
        now = self._clock()
        bucket = self._buckets.pop(cause, None) or _Bucket(self._burst, now)
        # Put in again at the end: the first is the one that was quiet longest, and may be forgotten.
        self._buckets[cause] = bucket
        if len(self._buckets) > _MAX_CAUSES:
            forgotten = self._buckets.pop(next(iter(self._buckets)))
            self._all.left_out += forgotten.left_out
        bucket.fill(now, self._every_s, self._burst)
        self._all.fill(now, 1.0, self._burst_of_all)
        if min(bucket.tokens, self._all.tokens) < 1.0:
            bucket.left_out += 1
            return None
        bucket.tokens -= 1.0
        self._all.tokens -= 1.0
        left_out = bucket.left_out + self._all.left_out
        bucket.left_out = self._all.left_out = 0
        return left_out


class _Bucket:
    """Tokens that a line costs one of."""

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens, self.left_out = float(tokens), 0
        self._counted = now

    def fill(self, now: float, every_s: float, most: int) -> None:
        self.tokens = min(most, self.tokens + (now - self._counted) / every_s)
        self._counted = now
