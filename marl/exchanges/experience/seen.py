"""Statistics of observations from actors, limited by the number of trajectories that have come from them."""

import torch
from torch import Tensor

from marl.data.node.send_queue import RING_LENGTH
from marl.exchanges.child_reports import MAX_WORKERS
from marl.exchanges.experience.credit import ActorMember
from marl.exchanges.observation_statistics import Observed


class Seen:
    """Adds the statistics of actors to the normaliser's. Call it only with the owner's lock held."""

    def __init__(self, observed: Observed, steps: int) -> None:
        """
        Args:
            steps: most that a trajectory can have.
        """
        self._observed, self._steps = observed, steps
        self._workers: dict[str, int] = {}  # of each child
        self._arriving: dict[str, Tensor] = {}  # [1 + 2 D]  of each child

    def assign(self, child: str, workers: int) -> None:
        """Remember the number of workers that a child claims."""
        self._workers[child] = min(workers, MAX_WORKERS)

    def receive_tensor(self, child: str) -> Tensor:
        """Where the child's next statistics arrive."""
        return self._arriving.setdefault(child, torch.zeros_like(self._observed.statistics))

    def learn(self, member: ActorMember, said: Tensor, count: int) -> None:
        """Add the statistics that came with ``count`` trajectories.

        They may include trajectories that have not come yet: those in the child's send queues, and those under way.

        Raises:
            WeightsRefused: they are not finite, or impossible.
        """
        member.trajectories += count
        beside = self._workers.get(member.name, 1) * (RING_LENGTH + 2)
        most = (member.trajectories + beside) * self._steps - member.seen
        member.seen += self._observed.add(member.name, said, most if count else 0)
