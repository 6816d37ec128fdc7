"""Pairwise mixing: each upload moves the parent's weights at once, and each answer moves that child's.

``P = (1 - alpha) P + alpha C`` under one lock, then ``shared += beta (P - s)`` at the child that sent ``C``. No rounds,
nobody waits for anybody, and no weights that all have in common. It is how A4C ran; elastic averaging (Zhang et al.
2015) is the same with the parent's half and the child's half applied to one difference.
"""

from typing import Any

from marl.exchanges.member import Member
from marl.exchanges.merging.answers import Answers
from marl.exchanges.merging.parent import MergingParent
from marl.exchanges.pairwise.merger import MixingMerger
from marl.exchanges.sides import Global
from marl.wire.message import Message


class MixingAnswers(Answers):
    """Pairwise: all of the weights each time, rounded where that is agreed and the child has been told."""

    def _kind_for(self, member: Member, refused: bool) -> str:
        return "weights" if self._merger.current.change is None or member.version is None else "change"


class PairwiseParent(MergingParent):
    """See ``ParentSide``.

    There are no rounds. What leaves a child out counts those uploads of the others that are merged, and goes up by one
    when each of them has sent one: its own would let it decide how long that is.
    """

    _turns = 0.0  # of all children

    def step_size(self, upload: Message) -> float:
        """How far an upload moves the weights, 0 to 1; one call at a time. Its numbers have not been checked yet."""
        return self._settings.alpha

    def _joins(self, member: Member, now: float) -> None:
        self._mixing.joined(member.name, anew=not member.merged_counter)

    def _leaves(self, member: Member) -> None:
        self._mixing.left(member.name)

    def _take(self, member: Member, upload: Message) -> None:
        if upload.counter > member.last_counter and upload.epoch == self.epoch and self._merge(member, upload):
            turn = 1 / max(1, sum(each.live for each in self.members.values()) - 1)
            member.turns += turn
            self._turns += turn

    def _count_for(self, member: Member) -> int | None:
        return int(self._turns - member.turns + 1e-6)

    def _make_merger(self, current: Global, **named: Any) -> MixingMerger:
        self._mixing = MixingMerger(current, self._settings, self._note, step_size=self.step_size, **named)
        return self._mixing

    def _make_answers(self) -> MixingAnswers:
        return MixingAnswers(self._mixing, name=self._name, epoch=self.epoch)
