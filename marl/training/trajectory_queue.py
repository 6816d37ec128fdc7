"""Trajectories on their way from the parent's conversations to its learner: a queue of fixed length in shared memory.

A rollout is the memory of one serialised trajectory. Any thread of the parent may put one in. Only the learner, another
process, takes rollouts out, in the same order, and gives each back after use. There are two rings of rollout numbers,
one to the learner and one back. Each has only one writer, so neither side can block the other.
"""

import threading
import time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.acting.collect import Episodes
from marl.data.layout import Layout, Leaf, Tree, mapped
from marl.data.rollout import num_steps, unpack
from marl.data.shared import SharedBlock
from marl.data.trajectory import LAST, STEPS, WHOLE, Trajectory
from marl.failpoints import fail
from marl.networks.contract import Acts

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

    def num_free(self) -> int:
        """How many rollouts could be placed now."""
        with self._lock:
            self._take_back()
            return len(self._free)

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


class Arrivals:
    """The learner's side: a ``Source`` of trajectories for its loop. Call ``wait`` before each ``collect``."""

    def __init__(
        self, block: SharedBlock, layout: Layout, *, batch: int, max_staleness: int, device: torch.device
    ) -> None:
        self._order: npt.NDArray[np.int64] = block["trajectory_queue_order"].numpy()
        self._back: npt.NDArray[np.int64] = block["trajectory_queue_back"].numpy()
        self._put: npt.NDArray[np.int64] = block["trajectory_queue_put"].numpy()
        self._taken: npt.NDArray[np.int64] = block["trajectory_queue_taken"].numpy()
        self._ages: npt.NDArray[np.int64] = block["trajectory_queue_ages"].numpy()
        self._version: npt.NDArray[np.int64] = block["version"].numpy()
        self._stop: npt.NDArray[np.uint8] = block["stop"].numpy()
        self._rollouts = [layout.open(memory) for memory in block["trajectory_queue"].unbind()]
        self._batch, self._max_staleness, self._device = batch, max_staleness, device
        self._in_hand: list[int] = []
        self.priorities = torch.zeros(0)  # of the last trajectory, as its actors computed them

    def wait(self) -> bool:
        """Give the last batch back, then wait for the next one. False if the learner is to stop."""
        for number in self._in_hand:
            self._give_back(number)
        self._in_hand = []
        while len(self._in_hand) < self._batch:
            if self._stop[0]:
                return False
            seen = int(self._taken[SEEN])
            if seen >= self._put[PUT]:
                time.sleep(0.0002)  # the parent shares no lock with a process that may be killed
                continue
            number = int(self._order[seen % len(self._order)])
            self._taken[SEEN] = seen + 1
            fail("learner.taking")
            # A trajectory from before a resume may have a version that this run has not reached yet.
            if 0 <= int(self._version[0]) - int(self._rollouts[number]["header"][0]) <= self._max_staleness:
                self._in_hand.append(number)
            else:
                self._taken[STALE] += 1
                self._give_back(number)  # at once: others wait for its place
        return True

    def _give_back(self, number: int) -> None:
        back = int(self._taken[BACK])
        self._back[back % len(self._back)] = number
        self._taken[BACK] = back + 1

    def collect(self, unused_network: Acts, version: int) -> tuple[Trajectory, Episodes]:
        """The batch as one trajectory of more environments. Its episodes and seconds are reported by the actors."""
        rollouts = [self._rollouts[number] for number in self._in_hand]
        opened = [unpack(rollout) for rollout in rollouts]
        for trajectory, _ in opened:
            self._ages[min(version - trajectory.version, AGES - 1)] += 1
            self._taken[USED] += 1
        steps = sum(num_steps(rollout) for rollout in rollouts)
        self.priorities = torch.cat([priorities for _, priorities in opened])
        joined = side_by_side([trajectory for trajectory, _ in opened])
        tensors = {name: mapped(self._to_device, getattr(joined, name)) for name in (*WHOLE, *LAST)}
        return Trajectory(**tensors, version=joined.version), Episodes(np.zeros(0), np.zeros(0, np.int64), steps, 0.0)

    def _to_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device)


def side_by_side(trajectories: list[Trajectory]) -> Trajectory:
    """Join trajectories of equal length into one, with all their environments. Its version is the oldest of theirs."""
    if len(trajectories) == 1:
        return trajectories[0]
    counts = [each.rewards.shape[1] for each in trajectories]
    width, offset, index = sum(counts), 0, []
    for each, count in zip(trajectories, counts, strict=True):
        index.append(each.last_index // count * width + each.last_index % count + offset)
        offset += count

    def joined(name: str, dim: int) -> Any:
        values = [getattr(each, name) for each in trajectories]
        return mapped(lambda *tensors: torch.cat(tensors, dim), *values)

    return Trajectory(
        **{name: joined(name, 1) for name in STEPS},
        state=joined("state", 0),
        last_observations=joined("last_observations", 0),
        last_index=torch.cat(index),
        version=min(each.version for each in trajectories),
    )


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
