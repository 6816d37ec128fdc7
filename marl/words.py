"""Words that came from elsewhere: made harmless for a terminal and a log, and kept from drowning what else is said."""

import threading
import time
import unicodedata
from collections.abc import Callable, Hashable

MOST = 1000  # letters of one line
_MARKS = 2  # accents on one letter; piled up they cover the lines above
_BLANKS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters by their kind, and nothing to see
_MAX_CAUSES = 4096


def printable(text: str, most: int = MOST) -> str:
    """One line of at most ``most`` letters, without what commands a terminal, turns the direction of reading or cannot
    be seen: that becomes a question mark, and line breaks a space.
    """
    if len(text) > 4 * most:
        text = text[: 4 * most]  # what follows is not worth the time
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_visible, " ".join(text.split())))
        text = _without_piles(text)
    return text if len(text) <= most else text[: most - 4] + " ..."


def _visible(letter: str) -> str:
    return letter if letter.isprintable() and letter not in _BLANKS else "?"


def _without_piles(text: str) -> str:
    kept, marks = [], 0
    for letter in text:
        marks = marks + 1 if unicodedata.category(letter).startswith("M") else 0
        if marks <= _MARKS:
            kept.append(letter)
    return "".join(kept)


class Lines:
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
            quarantined = self._admit(cause)
        if quarantined is not None:
            more = f" ({quarantined:,} more lines like this were left out)" if quarantined else ""
            self._tell(printable(line) + more)

    def _admit(self, cause: Hashable) -> int | None:
        """How many lines were left out before this one; None if this one is, too."""
        now = self._clock()
        bucket = self._buckets.pop(cause, None) or _Bucket(self._burst, now)
        # Put in again at the end: the first is the one that was quiet longest, and may be forgotten.
        self._buckets[cause] = bucket
        if len(self._buckets) > _MAX_CAUSES:
            forgotten = self._buckets.pop(next(iter(self._buckets)))
            self._all.quarantined += forgotten.quarantined
        bucket.fill(now, self._every_s, self._burst)
        self._all.fill(now, 1.0, self._burst_of_all)
        if min(bucket.tokens, self._all.tokens) < 1.0:
            bucket.quarantined += 1
            return None
        bucket.tokens -= 1.0
        self._all.tokens -= 1.0
        quarantined = bucket.quarantined + self._all.quarantined
        bucket.quarantined = self._all.quarantined = 0
        return quarantined


class _Bucket:
    """Tokens that a line costs one of."""

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens, self.quarantined = float(tokens), 0
        self._counted = now

    def fill(self, now: float, every_s: float, most: int) -> None:
        self.tokens = min(most, self.tokens + (now - self._counted) / every_s)
        self._counted = now
