"""Pairwise mixing: each upload moves the parent's weights at once, and each broadcast moves the weights of that child.

``P = (1 - alpha) P + alpha C`` under one lock, then ``shared += beta (P - s)`` at the child that sent ``C``. There
are no rounds, nobody waits, and the nodes never hold the same weights. A4C worked in this way. Elastic averaging (Zhang
et al. 2015) is the same, if both steps are applied to one difference.
"""

from typing import Any

from marl.exchanges.member import Member
from marl.exchanges.merging.broadcasts import Broadcasts
from marl.exchanges.merging.parent import MergingParent
from marl.exchanges.pairwise.merger import MixingMerger
from marl.exchanges.sides import Global
from marl.wire.message import Message


class MixingBroadcasts(Broadcasts):
    """Pairwise: all weights each time, encoded if there is a codec that the child knows of."""

    def _kind_for(self, member: Member, refused: bool) -> str:
        return "weights" if self._merger.current.delta is None or member.version is None else "delta"


class PairwiseParent(MergingParent):
    """See ``ParentSide``.

    There are no rounds. A quarantine is measured in merged uploads of the other children: the count grows by 1 when
    each of them has sent one. The child's own uploads do not count, or it could end its quarantine by itself.
    """

    _turns = 0.0  # sum over all children

    def step_size(self, upload: Message) -> float:
        """How far an upload moves the weights, 0 to 1; one call at a time. The upload is not checked yet."""
        return self._settings.alpha

    def _joins(self, member: Member, now: float) -> None:
        self._mixing.joined(member.name, anew=not member.merged_counter)

    def _leaves(self, member: Member) -> None:
        self._mixing.left(member.name)

    def _take(self, member: Member, upload: Message) -> None:
        if upload.counter > member.last_counter and upload.term == self.term and self._merge(member, upload):
            turn = 1 / max(1, sum(each.live for each in self.members.values()) - 1)
            member.turns += turn
            self._turns += turn

    def _count_for(self, member: Member) -> int | None:
        return int(self._turns - member.turns + 1e-6)

    def _make_merger(self, current: Global, **named: Any) -> MixingMerger:
        self._mixing = MixingMerger(current, self._settings, self._note, step_size=self.step_size, **named)
        return self._mixing

    def _make_broadcasts(self) -> MixingBroadcasts:
        return MixingBroadcasts(self._mixing, name=self._name, term=self.term)
