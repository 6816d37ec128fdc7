"""Which children the open round waits for, and until when."""

import math
from collections.abc import Callable, Collection

from marl.exchanges.virtual_time import RoundTimer

LEAST_S, SLOWER = 1.0, 1.5  # seconds that a round waits after its first part; or the time until that part, times this


class Attendance:
    """Of one round after another. Not locked."""

    def __init__(
        self,
        clock: Callable[[], float],
        timer: RoundTimer | None = None,
        children: int | None = None,
        least_s: float = LEAST_S,
    ) -> None:
        """
        Args:
            timer: counts rounds in virtual time.
            children: deterministic mode: each round waits for all of them, however long that takes.
            least_s: seconds that a round waits at least, after its first part.
        """
        self._least_s = least_s
        self._clock, self._opened_at, self._timer, self._children = clock, clock(), timer, children
        # Children that a round waits for: those that have had a part in the last one; None: all, in the first round.
        self._active: set[str] | None = None
        self._first_at: float | None = None  # when the first part of the open round came

    def join(self, child: str, *, first: bool) -> None:
        """A child is there; ``first``: none was, so that no time has passed in the open round."""
        self.leave(child)
        if first:
            self._opened_at = self._clock()
        if self._timer is not None:
            self._timer.join(child)

    def leave(self, child: str) -> None:
        """No longer wait for a child, until it has a part again."""
        if self._active is not None:
            self._active.discard(child)

    def take(self, child: str, busy: object = None) -> None:
        """The child's part is in the open round; ``busy``: what it says of its seconds."""
        self.lose(child)
        if self._timer is not None:
            self._timer.upload(child, busy)

    def lose(self, child: str) -> None:
        """The child has had its part in the open round, which could not be used."""
        if self._active is not None:
            self._active.add(child)
        self._first_at = self._first_at or self._clock()

    def due_at(self) -> float:
        """When the open round closes without those that are late."""
        if self._children is not None:
            return math.inf
        first = self._first_at or self._clock()
        return first + max(self._least_s, SLOWER * (first - self._opened_at))

    def is_over(self, here: Collection[str], live: Collection[str]) -> bool:
        """Whether all parts are there, or time is up.

        Args:
            here: children whose parts are there; ``live``: those that are connected.
        """
        if self._children is not None:
            return len(here) >= self._children
        waited_for = set(live) if self._active is None else self._active
        return waited_for <= set(here) or self._clock() >= self.due_at()

    def end_round(self, here: Collection[str], *, waits: bool = True) -> None:
        """The round is closed with the parts of these children, and the next one is open.

        Args:
            waits: whether workers wait for its sum before they go on.
        """
        self._active, self._opened_at, self._first_at = set(here), self._clock(), None
        if self._timer is not None:
            self._timer.end_round(waits=waits)
