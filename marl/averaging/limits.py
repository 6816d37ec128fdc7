"""What one upload may do to the mean: clipping of long changes, caps on claimed work."""

import math
import statistics
from collections import deque
from collections.abc import Sequence

from marl.errors import WeightsRefused

HISTORY = 101  # uploads that a running median looks back on
OWN_HISTORY = 11  # of one child: short, for a machine may become faster
MAX_WORK = 2.0**53  # environment steps; above it a float no longer counts


class NormClip:
    """Shortens changes that are far longer than usual for their work.

    A change grows like a random walk, so what is compared is norm / sqrt(work).
    """

    def __init__(self, *, ratio: float = 10.0, after: int = 5) -> None:
        """Clip to ``ratio`` times the running median once ``after`` uploads are accepted; infinite: never."""
        self._ratio = ratio
        self._after = after
        self._accepted: deque[float] = deque(maxlen=HISTORY)

    def factor(self, norm: float, work: float) -> float:
        """What to multiply a change by, at most 1, and remember it as accepted."""
        if norm == 0 or work == 0:
            return 1.0  # says nothing about what is usual; zeros in the median would clip everybody to nothing
        usual = norm / math.sqrt(work)
        limit = math.inf
        if len(self._accepted) >= self._after:
            limit = self._ratio * statistics.median(self._accepted)
        self._accepted.append(min(usual, limit))
        return min(1.0, limit / usual)


class WorkCap:
    """Bounds the work that a child may claim by the steps per second that it, or most others, have shown."""

    def __init__(self, *, slack: float = 4.0, after: int = 5, max_speed: float = math.inf) -> None:
        """Cap at ``slack`` times the usual speed once ``after`` claims were seen; more slack trusts children more.

        Args:
            max_speed: steps per second that no child can reach: the only bound on the first claims.
        """
        self._slack = slack
        self._max_speed = max_speed
        self._after = after
        self._everyone: deque[float] = deque(maxlen=HISTORY)
        self._own: dict[str, deque[float]] = {}

    def plausible(self, child: str, claimed: float, elapsed_s: float) -> float:
        """The claimed steps, or as many as are plausible in ``elapsed_s`` seconds since the child's last ones.

        Raises:
            WeightsRefused: the claim is no count at all.
        """
        check_work(claimed)
        if elapsed_s <= 0 or claimed == 0:
            return 0.0
        own = self._own.setdefault(child, deque(maxlen=OWN_HISTORY))
        allowed = min(claimed, self._max_speed * elapsed_s)
        if len(self._everyone) >= self._after:
            usual = max(statistics.median(self._everyone), statistics.median(own) if own else 0.0)
            allowed = min(allowed, self._slack * usual * elapsed_s)
        # What is remembered is the capped speed: a liar raises its own median only slowly, and no one else's.
        self._everyone.append(allowed / elapsed_s)
        own.append(allowed / elapsed_s)
        return allowed


def cap_shares(work: Sequence[float], max_share: float) -> list[float]:
    """Lower the largest so that none has more than ``max_share`` of what is left; 2 / n is a usual bound.

    Where that is impossible, because too few did any work, those become equal.
    """
    order = sorted((index for index in range(len(work)) if work[index]), key=work.__getitem__, reverse=True)
    cap = min((work[index] for index in order), default=0.0)
    for num_capped in range(len(order) if max_share * len(order) > 1 else 0):
        rest = sum(work[index] for index in order[num_capped:])
        # The first few all stand at the cap: cap = max_share * (num_capped * cap + rest).
        room = 1 - max_share * num_capped
        if room > 0 and work[order[num_capped]] * room <= max_share * rest:
            cap = max_share * rest / room
            break
    return [min(claimed, cap) for claimed in work]


def check_work(work: float) -> None:
    """Refuse what is no count of environment steps."""
    if not 0 <= work <= MAX_WORK:  # false for NaN
        raise WeightsRefused(f"expected between 0 and 2^53 environment steps of work, got {work}")
