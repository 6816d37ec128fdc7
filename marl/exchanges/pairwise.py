"""Pairwise mixing: each upload moves the parent's weights at once, and each answer moves that child's.

``P = (1 - alpha) P + alpha C`` under one lock, then ``shared += beta (P - s)`` at the child that sent ``C``. No rounds,
nobody waits for anybody, and no weights that all have in common. It is how A4C ran; elastic averaging (Zhang et al.
2015) is the same with the parent's half and the child's half applied to one difference.
"""

from typing import Any

import torch

from marl.exchanges.answers import MixingAnswers
from marl.exchanges.base import Global
from marl.exchanges.merging_parent import MergingParent
from marl.exchanges.mixing_merger import MixingMerger
from marl.exchanges.rounds import Member
from marl.exchanges.weights_child import WeightsChild
from marl.wire.message import Array, Message


class PairwiseParent(MergingParent):
    """See ``ParentSide``.

    There are no rounds. What leaves a child out counts those uploads of the others that are merged, and goes up by one
    when each of them has sent one: its own would let it decide how long that is.
    """

    _turns = 0.0  # of all children

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
        self._mixing = MixingMerger(current, self._settings, self._note, **named)
        return self._mixing

    def _make_answers(self) -> MixingAnswers:
        return MixingAnswers(self._mixing, name=self._name, epoch=self.epoch)


class PairwiseChild(WeightsChild):
    """See ``ChildSide``."""

    def _encoded(self) -> dict[str, Array]:
        if self._codec is None:
            return {"weights": self._s}
        self._codec.encode(self._s, None, self._up)
        return {"change": self._up}

    def _read(self, answer: Message) -> bool:
        if "weights" not in answer.arrays:
            assert self._codec is not None
            self._codec.decode(self._down, self._scratch)
        return True

    def _is_far_behind(self, answer: Message) -> bool:
        return False  # versions count uploads of everybody here

    def _move(self, answer: Message, merged: bool) -> None:
        if merged:
            self._shared.add_(torch.sub(self._scratch, self._s, out=self._s), alpha=self._settings.beta)
