"""Trajectories on their way from the actors of a node to its contact: one ring for each worker, without a lock.

A rollout is the memory of one serialised trajectory. A worker fills the next rollout of its ring and then counts it as
written; the contact sends it and then counts it as taken. A worker that is killed meanwhile has written nothing: its
successor fills the same rollout again.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.data.layout import Layout, Leaf, Tree
from marl.data.node.bell import Bell
from marl.data.replay.rollout import pack
from marl.data.shared import SharedBlock
from marl.data.trajectory import Trajectory
from marl.failpoints import fail

# Columns of the counts, of rollouts. With virtual time: how many the worker had written when it last stood still, and
# may have written before it stands still next.
WRITTEN, TAKEN, RESTED, ALLOWED = range(4)
# More columns, see ``Bell``: the first worker's are rung when RESTED or ALLOWED of any has changed, each one's own when
# TAKEN has.
REST_BELL, ALLOWED_BELL, TAKEN_BELL = range(4, 7)
RING_LENGTH = 4  # rollouts in each worker's ring; when they are full, the actor waits for its contact


def send_queue_fields(layout: Layout, workers: int) -> dict[str, Tree]:
    """What a node's block needs."""
    return {
        "send_queue": Leaf((workers, RING_LENGTH, layout.num_bytes), torch.uint8),
        "send_queue_counts": Leaf((workers, 8), torch.int64),
    }


class SendQueue:
    """A worker's side."""

    def __init__(self, block: SharedBlock, worker: int, layout: Layout) -> None:
        self._counts: npt.NDArray[np.int64] = block["send_queue_counts"][worker].numpy()
        self._stop: npt.NDArray[np.uint8] = block["stop"].numpy()
        self._taken = Bell(self._counts[TAKEN_BELL:])
        self._rollouts = [layout.open(memory) for memory in block["send_queue"][worker].numpy()]

    def put(self, trajectory: Trajectory, priorities: Tensor | None) -> None:
        """Hand a trajectory to the contact; waits while the ring is full, unless the worker is to stop."""
        counts = self._counts
        self._taken.wait_for(lambda: self._has_room() or bool(self._stop[0]))
        if not self._has_room():
            return
        pack(self._rollouts[int(counts[WRITTEN]) % RING_LENGTH], trajectory, priorities)
        fail("send_queue.writing")
        counts[WRITTEN] += 1

    def _has_room(self) -> bool:
        return bool(self._counts[WRITTEN] - self._counts[TAKEN] < RING_LENGTH)


class Posted(NamedTuple):
    """A rollout that waits to be sent."""

    worker: int
    memory: Tensor  # [num_bytes] uint8, in the send queue


class Sender:
    """The contact's side."""

    def __init__(self, block: SharedBlock) -> None:
        self._rollouts = block["send_queue"]
        self._counts: npt.NDArray[np.int64] = block["send_queue_counts"].numpy()
        self._bells = [Bell(own[TAKEN_BELL:]) for own in self._counts]
        self._next = 0  # number of the worker whose turn it is

    def waiting(self, most: int) -> list[Posted]:
        """The next rollouts: workers take turns, and each begins with its oldest. They stay until ``taken``."""
        found: list[Posted] = []
        workers = len(self._counts)
        ready = self._counts[:, WRITTEN] - self._counts[:, TAKEN]
        for round_ in range(int(ready.max(initial=0))):
            for worker in np.roll(np.arange(workers), -self._next).tolist():
                if len(found) < most and ready[worker] > round_:
                    place = int(self._counts[worker, TAKEN] + round_) % self._rollouts.shape[1]
                    found.append(Posted(worker, self._rollouts[worker, place]))
        self._next = (self._next + 1) % workers
        return found

    def taken(self, rollouts: list[Posted]) -> None:
        """These have been sent: their places are free."""
        for rollout in rollouts:
            self._counts[rollout.worker, TAKEN] += 1
        for worker in {rollout.worker for rollout in rollouts}:
            self._bells[worker].ring()
