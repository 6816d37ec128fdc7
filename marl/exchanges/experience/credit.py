"""How many trajectories each child may send, so that the learner's queue always has room for what comes.

The queue has a fixed length. A child is told how many trajectories it may send (credit), and their places are kept for
it, so that what comes always has room, memory is bounded, and a learner that falls behind holds its actors back. Credit
is told as a sum since the conversation began: an answer that was damaged on the way costs none of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from marl.exchanges.experience.settings import PER_MESSAGE
from marl.exchanges.member import Member
from marl.training.trajectory_queue import TrajectoryQueue
from marl.wire.payload import CHUNK_BYTES

IN_FLIGHT = 2  # uploads: one travels while the parent is busy with the other
LARGE_BYTES = CHUNK_BYTES  # a link holds several times as much while nobody receives


@dataclass
class ActorMember(Member):
    """A child, and what is under way between it and the learner."""

    unit: ClassVar[str] = "seconds"
    credit: int = 0  # trajectories that it may still send
    granted: int = 0  # in all, since it joined
    sent_bytes: int = 0  # since it was told weights
    trajectories: int = 0  # that have come in all
    seen: float = 0.0  # observations that its statistics were of
    placed: list[int] = field(default_factory=list)  # rollouts that its upload lies in
    packed: Tensor = field(default_factory=lambda: torch.empty(0, 0))  # [16, num_bytes]  uploads to be unpacked


class Credit:
    """Shares the places of the queue among the children. Its owner's lock guards it and them."""

    def __init__(
        self, queue: TrajectoryQueue, members: Mapping[str, ActorMember], *, children: int, batch: int, num_bytes: int
    ) -> None:
        """
        Args:
            children: how many there may be: each has a share of the places, so that none can hold back the others.
            batch: trajectories that the learner may have in hand while it waits for more.
            num_bytes: of the weights.
        """
        self._queue, self._members = queue, members
        self._fair = min(IN_FLIGHT * PER_MESSAGE, max(1, (len(queue) - batch + 1) // children))
        self._has_large_weights = num_bytes > LARGE_BYTES

    def share(self, member: ActorMember) -> int:
        """How many trajectories more this child may send now."""
        live = [each for each in self._members.values() if each.live]
        kept = sum(each.credit for each in live)
        if member.credit > self._fair // 2 or self.may_be_sending(member):
            return 0  # it has enough to go on with
        # Who has waited for longer gets the first place that is free, also if another asks first.
        kept += sum(not each.credit and each.answered_at < member.answered_at for each in live)
        return max(0, min(self._fair - member.credit, self._queue.num_free() - kept))

    def may_be_sending(self, member: ActorMember) -> bool:
        """Whether large weights have to wait; not for a child that has asked for them, or may hold none yet."""
        return self._has_large_weights and member.credit > 0 and member.version is not None

    def grant(self, member: ActorMember) -> None:
        """Keep its share for it."""
        credit = self.share(member)
        member.credit += credit
        member.granted += credit

    def free(self, member: ActorMember) -> None:
        """The places of an upload that does not come to its end are others'."""
        self.discard(member.placed)
        member.placed = []

    def discard(self, rollouts: Iterable[int]) -> None:
        """What lies there is of no use; other trajectories may come to these places."""
        for rollout in rollouts:
            self._queue.discard(rollout)
