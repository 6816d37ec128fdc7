"""Pairwise mixing: each upload moves the parent's weights at once, and each broadcast moves the weights of that child.

``P = (1 - alpha) P + alpha C`` under one lock, then ``shared += beta (P - s)`` at the child that sent ``C``. There
are no rounds, nobody waits, and the nodes never hold the same weights. A4C worked in this way.

Elastic averaging (Zhang et al., "Deep learning with Elastic Averaging SGD", 2015, equations 7 and 8) moves both by one
difference: ``x - e (x - P)`` and ``P + e (x - P)``, with the ``P`` from before. Here the child moves towards the new
``P``, from which it is ``1 - alpha`` times as far. So ``alpha = e`` and ``beta = e / (1 - e)`` are that rule, for e up
to .5.
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
        if self.timer is not None:
            self.timer.join(member.name)

    def _leaves(self, member: Member) -> None:
        self._mixing.left(member.name)

    def _take(self, member: Member, upload: Message) -> None:
        if upload.counter <= member.last_counter or upload.term != self.term:
            return
        merged = self._merge(member, upload)
        if self.timer is not None:  # each upload is a round of its own; one that is refused has taken its time too
            self.timer.upload(member.name, upload.info.get("busy"))
            self.timer.end_round()
        if merged:
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
