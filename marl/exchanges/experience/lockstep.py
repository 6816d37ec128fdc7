"""Lockstep of actors and learner: the order of events is that of machines of their own.

Virtual time needs it: on shared cores nothing else says which of two processes would have been first. Each worker plays
its part of a round, a number of trajectories, then stands still until its child has uploaded the part. The parent gives
credit for one round at a time, with the weights that contain all rounds before:

    round r is uploaded     when it is played, and the child has the weights that contain round r - 1
    round r + 1 is played   when round r is uploaded

With them comes when they are there in virtual time. If that is before round r is played, round r + 1 is played with
them; else with those before, and they are used a round later. So where playing takes longer than learning, workers play
round r + 1 with weights that contain round r - 1; where learning takes longer, r - 2: if the queue has room for a third
round.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from marl.data.node.bell import Bell
from marl.data.node.memory import array
from marl.data.node.send_queue import ALLOWED, ALLOWED_BELL, REST_BELL, RESTED, RING_LENGTH, TAKEN, WRITTEN
from marl.data.shared import SharedBlock


def trajectories_a_round(batch: int, children: int, workers: int) -> int:
    """How many trajectories each worker of a child plays for a round: its share of a batch, and at least one. Where
    there are more workers than a batch has trajectories, a round is more than a batch.

    Args:
        batch: trajectories that the learner learns from at once.
        children: that the run should have; workers: of this child.
    """
    return min(RING_LENGTH, max(1, batch // (children * workers)))


class PartRest:
    """A worker's side: called between trajectories, it waits while the worker has played all that it may."""

    def __init__(self, block: SharedBlock, worker: int) -> None:
        counts, self._stop = array(block, "send_queue_counts"), array(block, "stop")
        self._counts, self._rested, self._allowed = counts[worker], *_bells(counts)

    def __call__(self) -> None:
        """Return when the worker may play on, or is to stop."""
        self._counts[RESTED] = self._counts[WRITTEN]
        self._rested.ring()
        self._allowed.wait_for(lambda: bool(self._counts[WRITTEN] < self._counts[ALLOWED] or self._stop[0]))


class Parts:
    """The contact's side: what its workers play for the next round."""

    def __init__(self, block: SharedBlock) -> None:
        self._counts: npt.NDArray[np.int64] = array(block, "send_queue_counts")
        self._rested, self._allowed = _bells(self._counts)

    def begin(self, count: int) -> None:
        """Give up what waits to be sent. Then each worker may play ``count`` trajectories, with the one begun."""
        written = self._counts[:, WRITTEN].copy()
        self._counts[:, TAKEN] = written
        self._counts[:, ALLOWED] = written + count
        self._allowed.ring()

    def go_on(self, count: int) -> None:
        """Each worker may play ``count`` more trajectories."""
        self._counts[:, ALLOWED] += count
        self._allowed.ring()

    def are_played(self) -> bool:
        """Whether every worker stands still, with all that it may play."""
        return bool((self._counts[:, RESTED] >= self._counts[:, ALLOWED]).all())

    def wait(self, is_over: Callable[[], bool]) -> None:
        """Until ``are_played``, or until ``is_over`` says that this was long enough."""
        self._rested.wait_for(lambda: self.are_played() or is_over())

    def are_sent(self) -> bool:
        """Whether all that workers may play is sent."""
        return bool((self._counts[:, TAKEN] >= self._counts[:, ALLOWED]).all())


def _bells(counts: npt.NDArray[np.int64]) -> tuple[Bell, Bell]:
    """For the contact, when a worker stands still; for the workers, when they may play."""
    return Bell(counts[0, REST_BELL:]), Bell(counts[0, ALLOWED_BELL:])
