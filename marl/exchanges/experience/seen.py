"""What actors say of the observations that they have seen, bounded by the trajectories that have come from them."""

import torch
from torch import Tensor

from marl.exchanges.child_reports import MAX_WORKERS
from marl.exchanges.experience.credit import ActorMember
from marl.exchanges.observed import Observed
from marl.training.send_queue import RING_LENGTH


class Seen:
    """Folds it into the normaliser's statistics. Its owner's lock guards it."""

    def __init__(self, observed: Observed, steps: int) -> None:
        """
        Args:
            steps: of a trajectory.
        """
        self._observed, self._steps = observed, steps
        self._workers: dict[str, int] = {}  # of each child
        self._arriving: dict[str, Tensor] = {}  # [1 + 2 D]  of each child

    def assign(self, child: str, workers: int) -> None:
        """How many workers it has, as it says."""
        self._workers[child] = min(workers, MAX_WORKERS)

    def place(self, child: str) -> Tensor:
        """Where the child's next statistics arrive."""
        return self._arriving.setdefault(child, torch.zeros_like(self._observed.slot))

    def learn(self, member: ActorMember, said: Tensor, count: int) -> None:
        """Fold what came with ``count`` trajectories.

        Beside the trajectories that have come, all of it lies in the child's send queues, or is under way.

        Raises:
            WeightsRefused: it is not finite, or impossible.
        """
        member.trajectories += count
        beside = self._workers.get(member.name, 1) * (RING_LENGTH + 2)
        most = (member.trajectories + beside) * self._steps - member.seen
        moments = self._observed.vet(member.name, said, most if count else 0)
        if moments is not None:
            member.seen += float(moments[0])
            self._observed.fold([moments])
