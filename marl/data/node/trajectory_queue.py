"""Trajectories on their way from the parent's conversations to its learner: a queue of fixed length in shared memory.

A rollout is the memory of one serialised trajectory. Any thread of the parent may put one in. Only the learner, another
process, takes rollouts out, in the same order, and gives each back after use. There are two rings of rollout numbers,
one to the learner and one back. Each has only one writer, so neither side can block the other.
"""

import threading
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.data.layout import Layout, Leaf, Tree
from marl.data.shared import SharedBlock
from marl.failpoints import fail

PUT = 0  # column of the parent's counts
SEEN, BACK, STALE, USED = range(4)  # of the learner's: rollouts looked at, given back, too old, learned from
BEGUN, DONE, VERSIONS = range(3)  # indices of "published_numbers"; at VERSIONS: those of both copies
AGES = 256  # staleness is counted up to here


def trajectory_queue_fields(layout: Layout, length: int, num_weights: int) -> dict[str, Tree]:
    """What the learner's block needs for a queue of ``length`` rollouts, and for the weights that it publishes."""
    return {
        "published": Leaf((2, num_weights), torch.float32),
        "published_numbers": Leaf((8,), torch.int64),
        "trajectory_queue": Leaf((length, layout.num_bytes), torch.uint8),
        "trajectory_queue_order": Leaf((length,), torch.int64),  # numbers of rollouts as they were queued, a ring
        "trajectory_queue_back": Leaf((length,), torch.int64),  # likewise as they were given back
        "trajectory_queue_put": Leaf((8,), torch.int64),
        "trajectory_queue_taken": Leaf((8,), torch.int64),
        "trajectory_queue_ages": Leaf((AGES,), torch.int64),  # how many used trajectories had each staleness
    }


class TrajectoryQueue:
    """The parent's side: it places what comes into free rollouts and queues them. Locked."""

    def __init__(self, block: SharedBlock) -> None:
        self.memory = block["trajectory_queue"]  # [length, num_bytes]
        self._order: npt.NDArray[np.int64] = block["trajectory_queue_order"].numpy()
        self._back: npt.NDArray[np.int64] = block["trajectory_queue_back"].numpy()
        self._put: npt.NDArray[np.int64] = block["trajectory_queue_put"].numpy()
        self._taken: npt.NDArray[np.int64] = block["trajectory_queue_taken"].numpy()
        self._lock = threading.Lock()  # guards all below
        self._free = list(range(len(self.memory)))
        self._queued: set[int] = set()  # rollouts that the learner has not given back
        self._returned = 0

    def __len__(self) -> int:
        return len(self.memory)

    def total(self) -> int:
        """How many rollouts were given to the learner so far."""
        return int(self._put[PUT])

    def num_free(self) -> int:
        """How many rollouts could be placed now."""
        with self._lock:
            self._take_back()
            return len(self._free)

    def num_queued(self) -> int:
        """How many rollouts the learner has not given back."""
        with self._lock:
            self._take_back()
            return len(self._queued)

    def place(self) -> tuple[int, Tensor]:
        """The number and memory of a free rollout; the caller knows that there is one."""
        with self._lock:
            self._take_back()
            number = self._free.pop()
            return number, self.memory[number]

    def place_if_free(self) -> tuple[int, Tensor] | None:
        """Like ``place``, but None if no rollout is free."""
        with self._lock:
            self._take_back()
            if not self._free:
                return None
            number = self._free.pop()
            return number, self.memory[number]

    def queue(self, number: int) -> None:
        """Give a rollout to the learner."""
        with self._lock:
            self._queued.add(number)
            self._order[int(self._put[PUT]) % len(self._order)] = number
            self._put[PUT] += 1

    def discard(self, number: int) -> None:
        """Free a rollout whose content is of no use."""
        with self._lock:
            self._free.append(number)

    def restart(self) -> int:
        """The learner has died: free the rollouts that it worked on. Returns how many these were."""
        with self._lock:
            self._take_back()
            waiting = range(int(self._taken[SEEN]), int(self._put[PUT]))
            in_hand = self._queued - {int(self._order[place % len(self._order)]) for place in waiting}
            self._queued -= in_hand
            self._free += in_hand
            return len(in_hand)

    def _take_back(self) -> None:
        end = int(self._taken[BACK])
        for place in range(self._returned, end):
            number = int(self._back[place % len(self._back)])
            self._queued.remove(number)
            self._free.append(number)
        self._returned = end


class LearnerQueue:
    """The learner's side: it takes rollouts out in the order in which they were queued, and gives each back."""

    def __init__(self, block: SharedBlock) -> None:
        self._order: npt.NDArray[np.int64] = block["trajectory_queue_order"].numpy()
        self._back: npt.NDArray[np.int64] = block["trajectory_queue_back"].numpy()
        self._put: npt.NDArray[np.int64] = block["trajectory_queue_put"].numpy()
        self._taken: npt.NDArray[np.int64] = block["trajectory_queue_taken"].numpy()
        self._ages: npt.NDArray[np.int64] = block["trajectory_queue_ages"].numpy()

    def take(self) -> int | None:
        """The number of the next rollout; None if none waits."""
        seen = int(self._taken[SEEN])
        if seen >= self._put[PUT]:
            return None
        number = int(self._order[seen % len(self._order)])
        self._taken[SEEN] = seen + 1
        fail("learner.taking")
        return number

    def give_back(self, number: int) -> None:
        """The learner no longer needs this rollout."""
        back = int(self._taken[BACK])
        self._back[back % len(self._back)] = number
        self._taken[BACK] = back + 1

    def drop(self, number: int) -> None:
        """Give back a rollout that is too old to be learned from."""
        self._taken[STALE] += 1
        self.give_back(number)

    def count(self, age: int) -> None:
        """A trajectory that is ``age`` versions old is learned from."""
        self._ages[min(age, AGES - 1)] += 1
        self._taken[USED] += 1


class Flow(NamedTuple):
    """What became of the trajectories, for people."""

    used: int
    stale: int  # dropped: older than allowed, or from before the run was resumed
    ages: npt.NDArray[np.int64]  # of those used: how many had each age, in versions

    def mean_age(self) -> float:
        """The mean staleness, in versions."""
        total = int(self.ages.sum())
        return float((self.ages * np.arange(len(self.ages))).sum() / total) if total else 0.0

    def age_of(self, share: float) -> int:
        """A quantile of the staleness, in versions: a ``share`` (0 to 1, not 0) of the trajectories was not older."""
        reached = np.cumsum(self.ages) >= share * self.ages.sum()
        return int(reached.argmax())


def flow(block: SharedBlock) -> Flow:
    """Counts since the learner's block was made."""
    taken = block["trajectory_queue_taken"]
    return Flow(int(taken[USED]), int(taken[STALE]), block["trajectory_queue_ages"].numpy().copy())


class Published:
    """The learner's newest weights, for the parent's threads: two copies, so that the newer one is always complete."""

    def __init__(self, block: SharedBlock) -> None:
        self._copies = block["published"]
        self._numbers: npt.NDArray[np.int64] = block["published_numbers"].numpy()

    def publish(self, weights: Tensor, version: int) -> None:
        """Publish new weights; only the learner does this."""
        sequence = int(self._numbers[DONE]) + 1
        self._numbers[BEGUN] = sequence
        self._copies[sequence % 2].copy_(weights)
        self._numbers[VERSIONS + sequence % 2] = version
        self._numbers[DONE] = sequence

    def read(self, place: Tensor) -> int:
        """Copy the newest weights to ``place``. Returns their version."""
        while True:
            done = int(self._numbers[DONE])
            place.copy_(self._copies[done % 2])
            version = int(self._numbers[VERSIONS + done % 2])
            if self._numbers[BEGUN] <= done + 1:  # else this copy has been written to meanwhile
                return version

    def version(self) -> int:
        """The version of the newest weights."""
        return int(self._numbers[VERSIONS + int(self._numbers[DONE]) % 2])
