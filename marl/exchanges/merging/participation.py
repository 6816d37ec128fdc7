"""Which children take part in the merging: quarantined ones are quarantined, and others are set aside for a while."""

import threading
from collections.abc import Callable

from marl.exchanges.member import Member
from marl.exchanges.merging.merger import Merger
from marl.exchanges.sides import Global, Standing


class Participation:
    """The part of a merging parent that decides whose uploads count; methods with an underscore need its lock."""

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
        """Two children whose changes of the weights go against each other, of two in all."""
        with self._changed:
            opposed = self._merger.directions.opposed(self._takers())
            return opposed if len(opposed) == 2 else ()

    def _takers(self) -> set[str]:
        """Who takes part, as far as is known."""
        return {name for name, each in self.members.items() if each.live}

    def standing(self, child: str) -> Standing:
        """Whether something of a child can be expected."""
        with self._changed:
            member = self.members[child]
            if not member.live:
                return Standing.GONE
            quarantined = member.quarantined_for(self._count_for(member)) or member.aside
            return Standing.QUARANTINED if quarantined else Standing.TAKES_PART

    def set_aside(self, child: str) -> None:
        """Merge nothing of a child, and wait for it no more, until ``take_back``."""
        with self._changed:
            self.members[child].aside = True
            self._weigh_again()

    def take_back(self, child: str) -> None:
        """The child may take part again, unless it is quarantined for another reason."""
        with self._changed:
            self.members[child].aside = False
            self._merger.directions.forget()

    def go_back(self, to: Global) -> None:
        """The weights of an earlier version are the newest again."""
        with self._changed:
            self._merger.go_back(to)
            self._went_back()
            self._weigh_again()

    def _went_back(self) -> None:
        """Nothing that was uploaded for the next version is in it."""

    def _weigh_again(self) -> None:
        """Who is waited for has changed."""
        self._changed.notify_all()

    def accuse(self, child: str, reason: str) -> None:
        """The child is found to lie: it is quarantined for long."""
        with self._changed:
            self._quarantine(self.members[child], reason)
            self._weigh_again()

    def _quarantine(self, member: Member, reason: str) -> None:
        count = self._count_for(member)
        if count is not None:
            self._merger.directions.forget()
            self._note(member.quarantine(reason, count))

    def _count_for(self, member: Member) -> int | None:
        """What goes up as time goes by, for leaving a child out; None where nothing can go up without it."""
        return member.arrived

    def _is_quarantined(self, member: Member) -> bool:
        """Whether nothing of a child is merged; a bar holds only while another child can go on without it."""
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
