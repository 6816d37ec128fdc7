"""A round: which children it waits for, and how long. It uses no threads, and gets the time as an argument."""

import statistics
from collections.abc import Iterable

from marl.exchanges.member import STILL, Member

MIN_DEADLINE = 1.0  # seconds, of a round, and of the time that stragglers have after a flush
FIRST_DEADLINE = 10.0


class Round:
    """One round, while it waits for uploads."""

    def __init__(self, number: int, now: float, expected: int | None = None) -> None:
        """``expected``: how many children are waited for, however long it takes."""
        self.number = number
        self._expected = expected
        self.opened_at = now
        self.first_upload_at: float | None = None
        self._flush_at: float | None = None  # when stragglers are asked to upload at once
        self._known = False  # whether ``_deadline`` is up to date: it is cached, because every conversation often asks
        self._deadline: float | None = None

    def flush_from(self, now: float) -> None:
        """Tell stragglers to upload at once from now on, if they are not told already."""
        self._flush_at = now if self._flush_at is None else self._flush_at

    def waited_for(self, members: Iterable[Member], now: float) -> list[Member]:
        """Children whose upload is still to come and worth waiting for.

        A child that joined during the round may upload to it, but only round 0 waits for such a child.
        """
        return [each for each in members if self.waits_for(each, now)]

    def waits_for(self, each: Member, now: float) -> bool:
        """Whether this child's upload is still to come and worth waiting for."""
        if self._expected is not None:
            return not each.uploaded
        return (
            each.live
            and not each.uploaded
            and (each.joined_in < self.number or self.number == 0)
            and not each.aside
            and each.quarantined_until <= self.number
            and now - max(each.moved_at, each.answered_at) < STILL
        )

    def changed(self) -> None:
        """A child has come, gone or uploaded: compute the deadline again."""
        self._known = False

    def flush_at(self, members: Iterable[Member]) -> float | None:
        """When stragglers are told to upload at once; None while that is not known."""
        if self._expected is not None:
            return None
        if self._flush_at is not None:
            return self._flush_at
        if not self._known:
            self._known, self._deadline = True, self._deadline_of(members)
        return self._deadline

    def _deadline_of(self, members: Iterable[Member]) -> float | None:
        usual = sorted(statistics.median(each.seconds) for each in members if each.live and each.seconds)
        if usual:
            return self.opened_at + max(MIN_DEADLINE, 1.5 * usual[(len(usual) - 1) // 2])
        if self.first_upload_at is None:
            return None
        return self.opened_at + max(FIRST_DEADLINE, 3 * (self.first_upload_at - self.opened_at))

    def complete(self, members: Iterable[Member], now: float) -> bool:
        """Whether there is nobody left to wait for."""
        everybody = list(members)
        if self._expected is not None:
            return sum(each.uploaded for each in everybody) >= self._expected
        return not self.waited_for(everybody, now)

    def close_at(self, members: Iterable[Member], now: float) -> float | None:
        """When the round closes without the missing children; None while there is nothing to merge."""
        everybody = list(members)
        flush_at = self.flush_at(everybody)
        if flush_at is None or self.first_upload_at is None:
            return None
        transfers = [statistics.median(m.transfers) for m in self.waited_for(everybody, now) if m.transfers]
        return max(flush_at, self.first_upload_at) + max(MIN_DEADLINE, 2 * max(transfers, default=0.0))
