"""Trajectories of all workers of a node, to learn from more than once.

Each worker writes a ring of slots of its own, everybody samples from all of them, and nobody waits: a slot carries a
sequence number that is odd while it is written, so that a reader knows afterwards whether what it copied is whole. A
worker that is killed meanwhile leaves its slot odd, which nobody reads, and its successor fills first. (Lamport,
"Concurrent reading and writing" (1977); Linux calls it a seqlock. As in ``Ring``, other processes have to see stores in
their order.)
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.data.layout import Leaf, Tree, Values, batched, mapped
from marl.data.replay.rollout import pack, unpack
from marl.data.shared import SharedBlock
from marl.data.trajectory import Trajectory

SEQUENCE = 0  # column of the header; a sequence of 0: never written
HEADER, ROLLOUTS = "replay_header", "replay"


def replay_fields(rollout: Tree, *, workers: int, slots: int) -> dict[str, Tree]:
    """What a block needs for this many rollouts of each worker; ``rollout`` is the tree of one."""
    return {HEADER: Leaf((workers, slots, 8), torch.int64), ROLLOUTS: batched(rollout, workers, slots)}


class TrajectoryReplay:
    """One process's view of the replay; ``worker`` is whose ring it writes, None for who only samples."""

    def __init__(self, block: SharedBlock, worker: int | None = None) -> None:
        self._worker = worker
        self._header: npt.NDArray[np.int64] = block[HEADER].numpy()  # [M, S, 8]
        self._shared: Values = mapped(Tensor.numpy, block.tree(ROLLOUTS))  # each array [M, S, ...]
        self._private: Values = mapped(lambda slots: np.zeros_like(slots[0, 0]), self._shared)
        self._sampled: Values = mapped(torch.from_numpy, self._private)  # the same memory

    def write(self, trajectory: Trajectory) -> None:
        """Keep a trajectory in place of this worker's oldest, as ``pack`` writes it.

        Raises:
            ValueError: the view has no ring.
            MessageRefused: shapes or types are others than the replay was made for.
        """
        if self._worker is None:
            raise ValueError("expected the number of a worker to write for, got None")
        own = self._header[self._worker]
        slot = int(np.argmin(own[:, SEQUENCE] >> 1))  # the oldest; where a write was cut short, that one again
        header = own[slot]
        odd = int(header[SEQUENCE]) | 1
        header[SEQUENCE] = odd
        pack(mapped(lambda slots: slots[self._worker, slot], self._shared), trajectory)
        header[SEQUENCE] = odd + 1

    def sample(self, rng: np.random.Generator) -> Trajectory | None:
        """Any trajectory of any worker, with the same chance for each, or None while there is no whole one.

        It lies in memory of this view's own, which the next sample overwrites.
        """
        sequences = self._header[..., SEQUENCE].ravel()  # [M S], a copy: what is compared with afterwards
        filled = np.flatnonzero((sequences > 0) & (sequences % 2 == 0))
        for place in rng.permutation(filled).tolist():  # the first, unless its writer came by meanwhile
            trajectory = self._copy(*divmod(place, self._header.shape[1]), sequence=int(sequences[place]))
            if trajectory is not None:
                return trajectory
        return None

    def __len__(self) -> int:
        """How many whole trajectories there are."""
        sequences = self._header[..., SEQUENCE]
        return int(np.count_nonzero((sequences > 0) & (sequences % 2 == 0)))

    def _copy(self, worker: int, slot: int, *, sequence: int) -> Trajectory | None:
        """What lies in a slot, or None if it was written to since it had that sequence number."""
        mapped(lambda private, slots: np.copyto(private, slots[worker, slot]), self._private, self._shared)
        return unpack(self._sampled)[0] if self._header[worker, slot, SEQUENCE] == sequence else None
