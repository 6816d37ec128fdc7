"""Pairwise mixing: each upload moves the parent's weights at once, and each answer moves that child's.

``P = (1 - alpha) P + alpha C`` under one lock, then ``shared += beta (P - s)`` at the child that sent ``C``. No rounds,
nobody waits for anybody, and no weights that all have in common. It is how A4C ran; elastic averaging (Zhang et al.
2015) is the same with the parent's half and the child's half applied to one difference.
"""

import torch

from marl.errors import MessageRefused
from marl.exchanges.answers import MixingAnswers
from marl.exchanges.base import Answer, Global
from marl.exchanges.merger import MixingMerger, work_of
from marl.exchanges.rounds import Member
from marl.exchanges.weights_child import WeightsChild
from marl.exchanges.weights_parent import LONGEST_WAIT, WeightsParent
from marl.wire.message import Array, Message


class PairwiseParent(WeightsParent):
    """See ``ParentSide``."""

    def patience(self, child: str) -> float:
        """See ``ParentSide``."""
        return LONGEST_WAIT

    def late(self, child: str) -> Answer | None:
        """See ``ParentSide``. There is no round to be late for."""
        return None

    def last_round(self, seconds: float) -> None:
        """There are no rounds: what has come is merged."""

    def _answer_upload(self, child: str, upload: Message) -> Answer | None:
        with self._changed:
            member = self.members[child]
            if upload.counter > member.last_counter and upload.epoch == self.epoch:
                member.last_counter = upload.counter
                self._mix(member, upload)
            return None if self._closed else self._reply(member)

    def _make_merger(self, current: Global) -> MixingMerger:
        self._mixing = MixingMerger(current, self._settings, self._note)
        return self._mixing

    def _mix(self, member: Member, upload: Message) -> None:
        now = self._clock()
        if member.is_barred(upload.counter):
            return
        try:
            work = self._work_cap.plausible(member.name, work_of(upload), now - member.merged_at)
            self._mixing.mix(upload, work)
        except MessageRefused as error:
            self._note(member.refuse(str(error), upload.counter))  # it counts its own uploads: there are no rounds
            return
        member.merged_counter, member.merged_at, member.refused = upload.counter, now, 0

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
