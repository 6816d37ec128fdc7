"""Decides which children's uploads are merged: not those of quarantined children, nor of those that are set aside."""

import threading
from collections.abc import Callable

from marl.exchanges.member import Member
from marl.exchanges.merging.merger import Merger
from marl.exchanges.sides import Global, Standing


class Participation:
    """The part of a merging parent that decides whose uploads count. Call private methods with the lock held."""

    members: dict[str, Member]
    _changed: threading.Condition  # guards everything
    _merger: Merger
    _note: Callable[[str], None]
    _ranks: dict[str, int]
    _workers: dict[str, int]

    def assign_rank(self, child: str, rank: int, workers: int) -> None:
        """See ``RunSide``."""
        with self._changed:
            self._ranks[child], self._workers[child] = rank, workers

    def opposed(self) -> tuple[str, ...]:
        """The two children of the run, if their deltas point against each other; else empty."""
        with self._changed:
            opposed = self._merger.directions.opposed(self._takers())
            return opposed if len(opposed) == 2 else ()

    def _takers(self) -> set[str]:
        """Names of the connected children."""
        return {name for name, each in self.members.items() if each.live}

    def standing(self, child: str) -> Standing:
        """Whether uploads of a child can be expected and merged."""
        with self._changed:
            member = self.members[child]
            if not member.live:
                return Standing.GONE
            quarantined = member.quarantined_for(self._count_for(member)) or member.aside
            return Standing.QUARANTINED if quarantined else Standing.TAKES_PART

    def set_aside(self, child: str) -> None:
        """Until ``take_back``, merge nothing of this child and do not wait for it."""
        with self._changed:
            self.members[child].aside = True
            self._participants_changed()

    def take_back(self, child: str) -> None:
        """The child may take part again, unless it is quarantined for another reason."""
        with self._changed:
            self.members[child].aside = False
            self._merger.directions.forget()

    def go_back(self, to: Global) -> None:
        """Make the weights of an earlier version the newest ones again."""
        with self._changed:
            self._merger.go_back(to)
            self._went_back()
            self._participants_changed()

    def _went_back(self) -> None:
        """Uploads for the next version were dropped."""

    def _participants_changed(self) -> None:
        """The set of children to wait for has changed."""
        self._changed.notify_all()

    def accuse(self, child: str, reason: str) -> None:
        """The child is found to lie: it is quarantined for long."""
        with self._changed:
            self._quarantine(self.members[child], reason)
            self._participants_changed()

    def _quarantine(self, member: Member, reason: str) -> None:
        count = self._count_for(member)
        if count is not None:
            self._merger.directions.forget()
            self._note(member.quarantine(reason, count))

    def _count_for(self, member: Member) -> int | None:
        """A count that grows with time, to measure quarantines; None if it grows only with uploads of this child."""
        return member.arrived

    def _is_quarantined(self, member: Member) -> bool:
        """Whether nothing of a child is merged. A quarantine holds only while the run can go on with another."""
        count = self._count_for(member)
        if count is None:
            return False
        others = [
            each.quarantined_for(self._count_for(each))
            for each in self.members.values()
            if each is not member and each.live and not each.aside
        ]
        alone = not others or min(others) >= member.quarantined_for(count) > 0
        return not (alone and not member.aside) and member.is_quarantined(count)
