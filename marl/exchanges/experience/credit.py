"""How many trajectories each child may send, so that the learner's queue always has room for what comes.

The queue has a fixed length. The parent tells a child how many trajectories it may send (credit), and keeps their
places free. So memory is bounded, and a slow learner slows its actors down. Credit is sent as a sum since the
conversation began: if an answer is damaged on its way, the next one makes up for it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from marl.data.node.trajectory_queue import TrajectoryQueue
from marl.exchanges.experience.settings import PER_MESSAGE
from marl.exchanges.member import Member
from marl.wire.payload import CHUNK_BYTES

IN_FLIGHT = 2  # uploads per child: one travels while the parent processes another
LARGE_BYTES = CHUNK_BYTES  # up to this size, sending weights never blocks: a link buffers several times as much


@dataclass
class ActorMember(Member):
    """A child, and what is under way between it and the learner."""

    unit: ClassVar[str] = "seconds"
    credit: int = 0  # trajectories that it may still send
    granted: int = 0  # in all, since it joined
    sent_bytes: int = 0  # since the parent last sent it weights
    trajectories: int = 0  # how many have come in all
    seen: float = 0.0  # observations in the statistics that it has sent
    placed: list[int] = field(default_factory=list)  # numbers of the queue's rollouts into which its upload arrives
    packed: Tensor = field(default_factory=lambda: torch.empty(0, 0))  # [16, num_bytes]  trajectories to decompress


class Credit:
    """Shares the places of the queue among the children. Call it only with the owner's lock held."""

    def __init__(
        self, queue: TrajectoryQueue, members: Mapping[str, ActorMember], *, children: int, batch: int, num_bytes: int
    ) -> None:
        """
        Args:
            children: most that there can be; each gets its share of the places, so none blocks the others.
            batch: trajectories that the learner may hold while it waits for more.
            num_bytes: of the weights.
        """
        self._queue, self._members = queue, members
        self._fair = min(IN_FLIGHT * PER_MESSAGE, max(1, (len(queue) - batch + 1) // children))
        self._has_large_weights = num_bytes > LARGE_BYTES

    def share(self, member: ActorMember) -> int:
        """How many more trajectories this child may send now."""
        live = [each for each in self._members.values() if each.live]
        kept = sum(each.credit for each in live)
        if member.credit > self._fair // 2 or self.may_be_sending(member):
            return 0  # it has enough credit for now, or must use it up before large weights are sent
        # A child that has waited longer gets the next free place, even if this child asks first.
        kept += sum(not each.credit and each.answered_at < member.answered_at for each in live)
        return max(0, min(self._fair - member.credit, self._queue.num_free() - kept))

    def may_be_sending(self, member: ActorMember) -> bool:
        """Whether large weights to this child must wait. They do not wait if it asked for weights, or has none yet."""
        return self._has_large_weights and member.credit > 0 and member.version is not None

    def grant(self, member: ActorMember) -> None:
        """Give the child its share, and keep these places free for it."""
        credit = self.share(member)
        member.credit += credit
        member.granted += credit

    def free(self, member: ActorMember) -> None:
        """Free the places of an upload that was not completed."""
        self.discard(member.placed)
        member.placed = []

    def discard(self, rollouts: Iterable[int]) -> None:
        """Free these places, whose content is not used."""
        for rollout in rollouts:
            self._queue.discard(rollout)
