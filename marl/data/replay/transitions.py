"""Single transitions, or whole sequences, of all workers of a node, in one ring a worker.

A ring publishes two counts: rows whose writing has begun, and rows that are done. A reader looks at the second
before and at the first after, and knows which rows may have changed meanwhile. Nobody waits. A worker that is killed
while it writes leaves rows begun and not done: they count as damaged until its successor has written over them. (As in
``Ring``, other processes have to see stores in their order.)
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.data.layout import Leaf, Tree, Values, batched, header_of, mapped
from marl.data.replay.frame_ring import FrameRing, frame_fields, numbers_of, rings_of
from marl.data.replay.sequences import Sequences, sequence_tree
from marl.data.shared import SharedBlock
from marl.data.sound import compare
from marl.failpoints import fail

Array = npt.NDArray[Any]
BEGUN, DONE = range(2)  # columns of the counts
COUNTS, ROWS, SEQUENCES = "transitions_counts", "transitions", "sequences"


class Transitions(NamedTuple):
    """N transitions, each over one step or several."""

    observations: Tensor  # [N, ...]
    actions: Tensor  # [N] integers, or [N, A]
    returns: Tensor  # [N]  discounted rewards of the steps between
    discounts: Tensor  # [N]  of the value of the next observation; 0 if the episode terminated
    next_observations: Tensor  # [N, ...]  after those steps
    versions: Tensor  # [N]  the weights that acted


Rows: TypeAlias = Transitions | Sequences


class Sampled(NamedTuple):
    """Transitions or sequences drawn from a replay, and what each counts for in the loss."""

    transitions: Any  # ``Rows``: of the kind that the algorithm's ``transitions`` makes
    weights: Tensor  # [N]  0 to 1
    generator: torch.Generator | None = None  # for a loss that draws actions
    largest: float = 1.0  # what the weights were divided by


def transition_fields(*, capacity: int, workers: int, observation: Tree, action: Tree) -> dict[str, Tree]:
    """What a block needs for ``capacity`` transitions; ``observation`` and ``action`` describe a single one.

    Raises:
        ValueError: the capacity cannot be split into equal rings.
    """
    seen = numbers_of(observation)
    one: dict[str, Tree] = {
        "observations": seen,
        "actions": action,
        "returns": Leaf((), torch.float32),
        "discounts": Leaf((), torch.float32),
        "next_observations": seen,
        "versions": Leaf((), torch.int64),
    }
    counts = _counts(capacity, workers)
    frames = frame_fields(observation, workers=workers, ring=capacity // workers)
    return {COUNTS: counts, ROWS: batched(one, capacity), **frames}


def sequence_fields(
    *, capacity: int, workers: int, length: int, observation: Tree, action: Tree, state: Tree
) -> dict[str, Tree]:
    """What a block needs for ``capacity`` sequences of ``length`` steps, in place of transitions.

    Raises:
        ValueError: the capacity cannot be split into equal rings.
    """
    one = sequence_tree(length=length, observation=numbers_of(observation), action=action, state=state)
    counts = _counts(capacity, workers)
    frames = frame_fields(observation, workers=workers, ring=capacity // workers * (length + 1))
    return {COUNTS: counts, SEQUENCES: batched(one, capacity), **frames}


def _counts(capacity: int, workers: int) -> Leaf:
    if capacity % workers or not capacity:
        raise ValueError(f"expected a capacity that {workers} workers can share equally, got {capacity}")
    return Leaf((workers, 8), torch.int64)


class TransitionReplay:
    """One process's view of the replay; ``worker`` is whose ring it writes, None for who only gathers."""

    def __init__(self, block: SharedBlock, worker: int | None = None) -> None:
        self._worker = worker
        self._counts: npt.NDArray[np.int64] = block[COUNTS].numpy()  # [M, 8]
        self._kind: type[Transitions] | type[Sequences] = Sequences if SEQUENCES in block.names() else Transitions
        rows = block.tree(SEQUENCES if self._kind is Sequences else ROWS)
        self._rows: list[Values] = [mapped(Tensor.numpy, rows[name]) for name in self._kind._fields]  # [capacity, ...]
        self._ring = len(rows["versions"]) // len(self._counts)  # rows of each worker
        self.of_sequences = self._kind is Sequences
        self._frames = rings_of(block, worker)
        self._stacked = "observations", "last_observations" if self.of_sequences else "next_observations"

    def add(self, batch: Rows) -> npt.NDArray[np.int64]:
        """Keep transitions in place of this worker's oldest; says where [N].

        Raises:
            ValueError: the view has no ring, or the ring is shorter.
            MessageRefused: shapes or types are others than the replay was made for.
        """
        if self._worker is None:
            raise ValueError("expected the number of a worker to write for, got None")
        size = len(batch.versions)
        if size > self._ring:
            raise ValueError(f"expected at most {self._ring} transitions, got {size}")
        if self._frames is not None:
            batch = self._stored(batch)
        pairs: list[tuple[Array, Array]] = []
        for rows, values in zip(self._rows, batch, strict=True):
            mapped(lambda each, tensor: pairs.append((each, tensor.numpy())), rows, values)
        if any(new.shape != (size, *each.shape[1:]) or new.dtype != each.dtype for each, new in pairs):
            expected = zip(self._kind._fields, self._rows, strict=True)
            fitting = {name: mapped(lambda each: each[:size], rows) for name, rows in expected}
            compare(header_of(fitting), header_of(batch._asdict()))
        counts = self._counts[self._worker]
        done = int(counts[DONE])
        counts[BEGUN] = max(int(counts[BEGUN]), done + size)  # further where a predecessor began more and was killed
        first, start = self._worker * self._ring, done % self._ring
        before_wrap = min(size, self._ring - start)
        for each, new in pairs:
            each[first + start : first + start + before_wrap] = new[:before_wrap]
            each[first : first + size - before_wrap] = new[before_wrap:]
            fail("transitions.writing")
        counts[DONE] = done + size
        return first + (start + np.arange(size)) % self._ring

    def gather(self, indices: npt.NDArray[np.int64]) -> tuple[Any, Tensor]:
        """Copies of rows [N], and which of them are whole [N].

        The others were never written, or may be half of an old transition and half of a new one, since their writer
        came by meanwhile or was killed there: they belong into no loss, so multiply their weights by this.

        A row that is whole may still be another transition than the one whose priority it was sampled for.
        """
        done = self._counts[:, DONE].copy()
        batch = self._kind(
            *[mapped(lambda each: torch.from_numpy(each.take(indices, axis=0)), rows) for rows in self._rows]
        )
        begun = self._counts[:, BEGUN].copy()
        worker = indices // self._ring
        row, end = indices - worker * self._ring, done[worker]
        written = row < end
        changed = (row - end) % self._ring < (begun - done)[worker]
        whole = written & ~changed
        if self._frames is not None:
            batch = self._taken(batch, worker, whole)
        return batch, torch.from_numpy(whole)

    def _stored(self, batch: Rows) -> Rows:
        """With numbers of frames in place of stacks."""

        def store(ring: FrameRing | None, rows: Array, *stacks: Tensor) -> list[Tensor]:
            return list(stacks) if ring is None else ring.store(rows.shape[-1], *stacks)

        pairs = mapped(store, self._frames, self._rows[0], *(getattr(batch, name) for name in self._stacked))
        numbers = [mapped(lambda _, pair, end=end: pair[end], self._frames, pairs) for end in range(2)]
        return batch._replace(**dict(zip(self._stacked, numbers, strict=True)))

    def _taken(self, batch: Rows, workers: npt.NDArray[np.int64], whole: Array) -> Rows:
        """With stacks in place of numbers; rows of which a frame is not whole are not ``whole``, either."""

        def take(ring: FrameRing | None, numbers: Tensor) -> Tensor:
            if ring is None:
                return numbers
            stacks, there = ring.take(numbers, workers)
            np.logical_and(whole, there, out=whole)
            return stacks

        return batch._replace(**{name: mapped(take, self._frames, getattr(batch, name)) for name in self._stacked})

    def __len__(self) -> int:
        """How many rows were written and not yet overwritten."""
        return int(np.minimum(self._counts[:, DONE], self._ring).sum())
