"""Frames of stacked observations in a replay: each worker has a ring of them, and a row holds their numbers.

A frame that lies in several rows is stored once: a worker knows by its content what it has stored lately. A frame may
have changed where more were begun since than the ring has places, as with rows: see ``replay/transitions.py``.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.data.layout import Leaf, Tree, batched, mapped
from marl.data.replay.stacks import frame_of, has_stacks
from marl.data.shared import SharedBlock
from marl.digests import content_of
from marl.failpoints import fail

FRAMES, COUNTS = "transitions_frames", "transitions_frame_counts"
BEGUN, DONE = range(2)  # columns of the counts
SPARE, LATELY = 4, 10  # a fourth more frames than rows; what lies a tenth of the ring back is stored again
FEWEST = 16  # stacks for which there is room beside

Array = npt.NDArray[Any]


def numbers_of(observation: Tree) -> Any:
    """What a row holds of an observation: of a stack, the numbers of its frames."""
    return mapped(lambda leaf: Leaf((leaf.frames,), torch.int64) if leaf.frames else leaf, observation)


def frame_fields(observation: Tree, *, workers: int, ring: int) -> dict[str, Tree]:
    """What a block needs for each worker's rows, where they add ``ring`` frames together; nothing where no leaf of an
    observation is a stack.
    """
    if not has_stacks(observation):
        return {}

    def frames(leaf: Leaf) -> Leaf:
        if not leaf.frames:
            return Leaf((workers, 0), leaf.dtype)
        return batched(frame_of(leaf), workers, ring + ring // SPARE + FEWEST * leaf.frames)  # type: ignore[no-any-return]

    return {FRAMES: mapped(frames, observation), COUNTS: mapped(lambda _: Leaf((workers, 8), torch.int64), observation)}


def rings_of(block: SharedBlock, worker: int | None) -> Any:
    """A view of each stack's rings, and None for a leaf that is none; ``worker`` is whose ring it writes.

    None where no leaf is a stack.
    """
    if FRAMES not in block.names():
        return None
    return mapped(
        lambda frames, counts: FrameRing(frames.numpy(), counts.numpy(), worker) if frames.numel() else None,
        block.tree(FRAMES),
        block.tree(COUNTS),
    )


class FrameRing:
    """All workers' frames of one stack."""

    def __init__(self, frames: Array, counts: npt.NDArray[np.int64], worker: int | None) -> None:
        self._frames = frames  # [M, places, F]
        self._counts = counts  # [M, 8]
        self._worker = worker
        self._known: dict[bytes, int] = {}  # numbers of frames that this process has stored lately, by their content

    def store(self, depth: int, *stacks: Tensor) -> list[Tensor]:
        """The numbers [..., k] of the frames of stacks [..., D], in the ring of this view's worker."""
        own, counts = self._frames[self._worker], self._counts[self._worker]
        first = number = int(counts[DONE])
        oldest = first - len(own) // LATELY
        answers: list[Tensor] = []
        new: list[Array] = []
        for each in stacks:
            numbers: list[int] = []
            for frame in np.ascontiguousarray(each.numpy()).reshape(-1, each.shape[-1] // depth):
                content = content_of(frame.data)
                found = self._known.get(content)
                if found is None or found < oldest:
                    self._known[content] = found = number
                    new.append(frame)
                    number += 1
                numbers.append(found)
            answers.append(torch.tensor(numbers, dtype=torch.int64).view(*each.shape[:-1], depth))
        counts[BEGUN] = max(int(counts[BEGUN]), number)  # further where a predecessor began more and was killed
        for place, frame in enumerate(new, first):
            own[place % len(own)] = frame
        fail("frames.writing")
        counts[DONE] = number
        if len(self._known) > len(own):
            self._known = {content: each for content, each in self._known.items() if each >= oldest}
        return answers

    def take(self, numbers: Tensor, workers: npt.NDArray[np.int64]) -> tuple[Tensor, npt.NDArray[np.bool_]]:
        """Stacks [N, ..., D] of the frames with these numbers [N, ..., k] in the rings of these workers [N]; and which
        rows [N] are whole.
        """
        wanted, places = numbers.numpy(), self._frames.shape[1]
        done = self._counts[workers, DONE]
        owners = workers.reshape(-1, *[1] * (wanted.ndim - 1))
        stacks = self._frames[owners, wanted % places].reshape(*wanted.shape[:-1], -1)
        begun = self._counts[workers, BEGUN]
        rest = tuple(range(1, wanted.ndim))
        whole = (wanted.max(axis=rest) < done) & (wanted.min(axis=rest) >= begun - places)
        return torch.from_numpy(stacks), whole
