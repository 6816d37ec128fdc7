"""Trajectories of all workers of a node, to learn from more than once.

Each worker writes a ring of slots of its own, everybody samples from all of them, and nobody waits: a slot carries a
sequence number that is odd while it is written, so that a reader knows afterwards whether what it copied is whole. A
worker that is killed meanwhile leaves its slot odd, which nobody reads, and its successor fills first. (Lamport,
"Concurrent reading and writing" (1977); Linux calls it a seqlock. As in ``Ring``, other processes have to see stores in
their order.)
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.data.shared import Field, SharedBlock
from marl.data.trajectory import Trajectory
from marl.failpoints import fail

SEQUENCE, VERSION, NUM_LAST = range(3)  # columns of the header; a sequence of 0: never written
HEADER = "replay_header"
LAST = ("last_observations", "last_index")
WHOLE = tuple(name for name in Trajectory._fields if name not in (*LAST, "version"))

Arrays = dict[str, npt.NDArray[Any]]


def replay_fields(
    *,
    workers: int,
    slots: int,
    length: int,
    environments: int,
    observation: Field,
    action: Field,
    num_parameters: int,
    max_last: int,
) -> dict[str, Field]:
    """What a block needs for ``slots`` trajectories of each worker.

    ``observation`` and ``action`` describe a single one. ``max_last`` is how many last observations of cut episodes
    a trajectory keeps: 0 where environments reset in a step of their own, else ``environments``, for episodes are
    seldom cut twice within a trajectory.
    """
    steps = trajectory_fields(
        length=length,
        environments=environments,
        observation=observation,
        action=action,
        num_parameters=num_parameters,
        max_last=max_last,
    )
    fields = {f"replay_{name}": Field((workers, slots, *shape), dtype) for name, (shape, dtype) in steps.items()}
    return {HEADER: Field((workers, slots, 8), torch.int64), **fields}


def trajectory_fields(
    *,
    length: int,
    environments: int,
    observation: Field,
    action: Field,
    num_parameters: int,
    max_last: int,
) -> dict[str, Field]:
    """The tensors of one trajectory, by the names they have in it."""
    return {
        "observations": Field((length + 1, environments, *observation.shape), observation.dtype),
        "actions": Field((length, environments, *action.shape), action.dtype),
        "rewards": Field((length, environments), torch.float32),
        "terminated": Field((length, environments), torch.bool),
        "truncated": Field((length, environments), torch.bool),
        "valid": Field((length, environments), torch.bool),
        "last_observations": Field((max_last, *observation.shape), observation.dtype),
        "last_index": Field((max_last,), torch.int64),
        "behaviour": Field((length, environments, num_parameters), torch.float32),
    }


class TrajectoryReplay:
    """One process's view of the replay; ``worker`` is whose ring it writes, None for who only samples."""

    def __init__(self, block: SharedBlock, worker: int | None = None) -> None:
        self._worker = worker
        self._header: npt.NDArray[np.int64] = block[HEADER].numpy()  # [M, S, 8]
        self._shared: Arrays = {name: block[f"replay_{name}"].numpy() for name in (*WHOLE, *LAST)}  # [M, S, ...]
        self._sampled: Arrays = {name: np.zeros_like(slots[0, 0]) for name, slots in self._shared.items()}

    def write(self, trajectory: Trajectory) -> None:
        """Keep a trajectory in place of this worker's oldest.

        More last observations than fit are not kept: the part of the episode before such a cut becomes invalid, since
        nothing says what it was worth.

        Raises:
            ValueError: the view has no ring, or shapes or types are others than the replay was made for.
        """
        if self._worker is None:
            raise ValueError("expected the number of a worker to write for, got None")
        new: Arrays = {name: getattr(trajectory, name).numpy() for name in (*WHOLE, *LAST)}
        self._check(new)
        num_last = min(len(new["last_index"]), len(self._sampled["last_index"]))
        if len(new["last_index"]) > num_last:
            new["valid"] = valid_without(trajectory, trajectory.last_index[num_last:]).numpy()
        own = self._header[self._worker]
        slot = int(np.argmin(own[:, SEQUENCE] >> 1))  # the oldest; where a write was cut short, that one again
        header = own[slot]
        odd = int(header[SEQUENCE]) | 1
        header[SEQUENCE] = odd
        header[VERSION], header[NUM_LAST] = trajectory.version, num_last
        for name in WHOLE:
            self._shared[name][self._worker, slot] = new[name]
            fail("replay.writing")
        for name in LAST:
            self._shared[name][self._worker, slot, :num_last] = new[name][:num_last]
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
        header = self._header[worker, slot]
        version, num_last = int(header[VERSION]), int(header[NUM_LAST])
        for name, private in self._sampled.items():
            private[...] = self._shared[name][worker, slot]
        if header[SEQUENCE] != sequence:
            return None
        copied: dict[str, Tensor] = {name: torch.from_numpy(private) for name, private in self._sampled.items()}
        copied.update({name: copied[name][:num_last] for name in LAST})
        return Trajectory(**copied, version=version)

    def _check(self, new: Arrays) -> None:
        for name, array in new.items():
            skip = name in LAST  # their first dimension is what there was
            expected, came = self._sampled[name], (array.shape[skip:], array.dtype)
            if came != (expected.shape[skip:], expected.dtype):
                raise ValueError(f"expected {name} of {expected.shape[skip:]}, {expected.dtype}, got {came}")


def valid_without(trajectory: Trajectory, cuts: Tensor) -> Tensor:
    """``valid`` [T, B] without the steps that lead to these cuts [K], back to the end of the episode before: nothing
    says what they were worth.
    """
    valid = trajectory.valid.numpy().copy()
    ended = (trajectory.terminated | trajectory.truncated).numpy()
    for cut in cuts.tolist():
        step, environment = divmod(cut, valid.shape[1])
        ends_before = np.flatnonzero(ended[:step, environment])
        first = ends_before[-1] + 1 if len(ends_before) else 0
        valid[first : step + 1, environment] = False
    return torch.from_numpy(valid)
