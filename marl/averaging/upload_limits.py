"""What one upload may do to the mean: how long a delta may be, and how much work may be claimed for it."""

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from marl.errors import WeightsRefused

OWN_HISTORY = 11  # of one child: short, for a machine may become faster
RECENT = 64  # uploads of all children: one that sent none of these does not count as usual
MOST_FASTER = 64.0  # times as fast as the others: what a large machine may be beside small ones
MOST_WEIGHT = 8.0  # times as much as the others: more work than that counts no more
MAX_WORK = 2.0**53  # environment steps; above it a float no longer counts
KEPT, SUSTAINED = 0.9, 3.0  # of a child's excess from upload to upload; mean excess that is too much for long
IMPOSSIBLE = 2.0  # times the longest delta that learning can make: no mistake, then, but a lie or a fault
LEAST = 0.25  # of what learning can be: so long a delta may always be, however little the others move
NOTHING = 0.02  # of what is usual among the others: who moves less than that has learned nothing
TOO_LONG, LONG_FOR = 2.0, 5  # times what learning can be; uploads in a row that were: then the child is named


class Usual:
    """Numbers that children show, and what is usual by those of the others: a liar has no say in its own limit."""

    def __init__(self, after: int) -> None:
        """``after``: how many numbers must have been seen first."""
        self._after = after
        self._own: dict[str, deque[float]] = {}
        self._last: dict[str, int] = {}  # number of each child's last upload
        self._count = 0

    def add(self, child: str, number: float) -> None:
        """Remember what a child showed."""
        self._count += 1
        self._last[child] = self._count
        self._own.setdefault(child, deque(maxlen=OWN_HISTORY)).append(number)

    def own(self, child: str) -> float | None:
        """The child's own median; None while too little was seen."""
        own = self._own.get(child)
        return statistics.median(own) if own and self.known() else None

    def others(self, child: str) -> float | None:
        """The median of the other children's medians; None while there are none, or too little was seen."""
        medians = [statistics.median(numbers) for numbers in self._of_others(child)]
        return statistics.median(medians) if medians and self.known() else None

    def num_others(self, child: str) -> int:
        """Other children that have shown something of late."""
        return len(self._of_others(child))

    def _of_others(self, child: str) -> list[deque[float]]:
        since = self._count - RECENT
        return [numbers for name, numbers in self._own.items() if name != child and self._last[name] > since]

    def known(self) -> bool:
        """Whether enough was seen to say what is usual."""
        return self._count >= self._after

    def saved(self) -> dict[str, list[float]]:
        """For ``restore``."""
        return {child: list(numbers) for child, numbers in self._own.items()}

    def restore(self, saved: object) -> None:
        """Go on from what ``saved`` said; what cannot be is left out, for it comes from a file."""
        for child, numbers in saved.items() if isinstance(saved, Mapping) else ():
            for number in numbers if isinstance(numbers, list) else ():
                if isinstance(number, (int, float)) and 0 < number < math.inf:
                    self.add(str(child), float(number))


class Room(NamedTuple):
    """How long a delta may be by what is known beside its history; see ``marl.averaging.reach``."""

    usual: float = math.inf  # learning that goes in one direction is no longer than this
    most: float = math.inf  # no learning is ever longer than this
    first: float = math.inf  # bounds the first deltas too, while nothing is known to be usual
    floor: float = math.inf  # as ``usual``, of no more work than counts beside the others': so long a delta is not cut
    explained: float = 0.0  # of the distance: by what the others did meanwhile


class Lengths:
    """Shortens deltas that are far longer than is usual, or than learning can be.

    No delta is longer than learning that goes straight in one direction, nor many times longer than those of the
    others, or of the child itself where it is alone. Who pulls several times harder than the others for long is cut to
    their length. But a quarter of what learning can be is never cut: a child that hardly moves must not tie down those
    that learn. A delta grows like a random walk, so what is compared is norm / sqrt(work).
    """

    def __init__(self, *, ratio: float = 10.0, after: int = 5) -> None:
        """Clip to ``ratio`` times the usual once ``after`` uploads are accepted; infinite: never."""
        self._ratio = ratio
        self._usual = Usual(after)
        self._excess: dict[str, float] = {}  # mean of recent norms, in usual ones
        self._long: dict[str, int] = {}  # uploads in a row that were too long for any learning

    def factor(self, child: str, norm: float, work: float, room: Room | None = None) -> float:
        """What to multiply a delta by, at most 1, and remember it as accepted.

        Args:
            work: no more than counts beside the others': what a child claims is no limit to its delta.

        Raises:
            WeightsRefused: it is far longer than any learning.
        """
        if room is not None and norm > room.explained + IMPOSSIBLE * room.most and not math.isinf(self._ratio):
            raise WeightsRefused(
                "expected a change of the weights that its work allows, "
                f"{room.explained + room.most:.3g} long at most, got {norm:.3g}"
            )
        if norm == 0 or work == 0 or math.isinf(self._ratio):
            return 1.0  # says nothing about what is usual; zeros in the median would clip everybody to nothing
        room = room or Room()
        root = math.sqrt(work)
        others = self._usual.others(child)
        usual = self._usual.own(child) if others is None else others
        least = LEAST * min(room.usual, room.floor) if math.isfinite(room.usual) else 0.0
        limit = min(room.usual, room.first if usual is None else max(self._ratio * usual * root, least))
        if others is not None and self._pulls(child, norm - room.explained, others * root, room):
            limit = min(limit, max(others * root, least))
        limit += room.explained
        self._usual.add(child, min(norm, limit) / root)
        return min(1.0, limit / norm)

    def _pulls(self, child: str, norm: float, usual: float, room: Room) -> bool:
        """Whether a child has pulled far harder than the others for a while."""
        now = min(max(norm, 0.0) / usual, self._ratio)
        self._excess[child] = KEPT * self._excess.get(child, 0.0) + (1 - KEPT) * now
        self._long[child] = self._long.get(child, 0) + 1 if norm > TOO_LONG * room.usual else 0
        return self._excess[child] > SUSTAINED

    def is_nothing(self, child: str, norm: float, work: float) -> bool:
        """Whether a delta is so short, beside those of the others, that its mean with them only slows them down."""
        others = self._usual.others(child)
        return norm == 0 or (others is not None and norm < NOTHING * others * math.sqrt(work))

    def complaint(self, child: str) -> str | None:
        """Why a child among others is to be quarantined; None where its deltas can be learning."""
        if self._long.get(child, 0) < LONG_FOR:
            return None
        self._long[child] = 0
        return f"its last {LONG_FOR} changes of the weights were all longer than its optimizer makes them"

    def saved(self) -> dict[str, list[float]]:
        """For ``restore``."""
        return self._usual.saved()

    def restore(self, saved: object) -> None:
        """Go on from what ``saved`` said."""
        self._usual.restore(saved)


class WorkCap:
    """Bounds the work that a child may claim by the steps per second that it, or the others, have shown."""

    def __init__(self, *, slack: float = 4.0, after: int = 5, max_speed: float = math.inf) -> None:
        """Cap at ``slack`` times the usual speed once ``after`` claims were seen; more slack trusts children more.

        Args:
            max_speed: steps per second that no child can reach: the only bound on the first claims.
        """
        self._slack = slack
        self._max_speed = max_speed
        self._usual = Usual(after)
        self._spare: dict[str, float] = {}  # steps that each child could have claimed beside those of its last upload

    def plausible(self, child: str, claimed: float, elapsed_s: float, late: float = 0.0) -> float:
        """The claimed steps, at most those that are plausible in ``elapsed_s`` seconds since the child's last ones.

        What is plausible is yet to be remembered, once all else of the upload was found to be usable.

        Args:
            late: steps that may have been played before the child's last upload.

        Raises:
            WeightsRefused: the claim is no count at all.
        """
        check_work(claimed)
        if elapsed_s <= 0 or claimed == 0:
            return 0.0
        allowed = min(claimed, self._max_speed * elapsed_s)
        usual = self._usual_speed(child)
        if usual:
            spare = min(late, self._spare.get(child, late))
            allowed = min(allowed, self._slack * usual * elapsed_s + spare)
        return allowed

    def _usual_speed(self, child: str) -> float:
        """Steps per second; 0 while too little was seen."""
        own, others = self._usual.own(child), self._usual.others(child)
        if own is not None and others is not None and self._usual.num_others(child) > 1:
            own = min(own, MOST_FASTER * others)  # beside one other child, that one may be who lies
        return max(own or 0.0, others or 0.0)

    def remember(self, child: str, plausible: float, elapsed_s: float, late: float = 0.0) -> None:
        """An upload of ``plausible`` steps was accepted.

        What is remembered is the capped speed: a liar raises its own median only slowly, and no one else's.
        """
        if late and (usual := self._usual_speed(child)):
            spare = min(late, self._spare.get(child, late))
            self._spare[child] = min(late, spare + self._slack * usual * elapsed_s - plausible)
        if plausible and elapsed_s > 0:
            self._usual.add(child, plausible / elapsed_s)

    def saved(self) -> dict[str, list[float]]:
        """For ``restore``."""
        return self._usual.saved()

    def restore(self, saved: object) -> None:
        """Go on from what ``saved`` said."""
        self._usual.restore(saved)


class Weights:
    """How much each upload counts in a mean: as much as its work, but not many times as much as the others'."""

    def __init__(self) -> None:
        self._usual = Usual(after=1)

    def weigh(self, child: str, work: float, most: float = MOST_WEIGHT) -> float:
        """The weight of an upload of ``work`` plausible steps, or of any other count.

        Args:
            most: times as much as the others.
        """
        others = self._usual.others(child)
        return work if others is None else min(work, most * others)

    def remember(self, child: str, work: float) -> None:
        """An upload of ``work`` was accepted."""
        if work:
            self._usual.add(child, work)


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
