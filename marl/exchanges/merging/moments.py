"""The optimizers' moments at the parent: a round's mean of what children upload, weighted as their weights are."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from marl.averaging.mean import Merge, RunningMean
from marl.averaging.moments import bound_mean, check_moment
from marl.averaging.robust import RobustMean
from marl.averaging.upload_limits import Lengths
from marl.exchanges.sides import Moments
from marl.training.optimizers import Moment
from marl.training.saved.weights_file import copy_exactly
from marl.wire.message import Message, count_of, tensor_of

NAME = "optimizer"  # of the array in messages
STEPS = "optimizer_steps"  # of the step counter beside it
SAVED, SAVED_STEPS = "moments", "moment_steps"  # in a checkpoint
MOST_STEPS = 2**24  # the counter is a float32, which counts no further
SLACK = 2.0  # workers of one child write moments at the same time, so they may be a little longer than they should


class Uploaded(NamedTuple):
    """Moments that were found to be usable."""

    vectors: Tensor  # [K, P]
    lengths: list[float]  # of each
    steps: int


class MergedMoments:
    """The mean of each round; the owner of the merger holds a lock."""

    def __init__(
        self, moments: Sequence[Moment], num_parameters: int, *, aggregate: str, clip: float, longest_gradient: float
    ) -> None:
        """
        Args:
            moments: those that are averaged.
            aggregate: as for the weights.
            clip: longest moments, in usual lengths; longer ones are shortened. Infinite: none is.
            longest_gradient: to which gradients are clipped; infinite: they are not.
        """
        self._moments, self._shape = moments, (len(moments), num_parameters)
        size = len(moments) * num_parameters
        self._mean: Merge = RunningMean(size) if aggregate == "mean" else RobustMean(size, aggregate)
        self._usual = [Lengths(ratio=clip) for _ in moments]
        longest = longest_gradient
        self._most = [SLACK * (longest**2 if each.squared else longest * each.longest) for each in moments]
        self._steps: list[int] = []
        self.current: Moments | None = None
        self.begin()

    @property
    def num_bytes(self) -> int:
        """Bytes of an upload's moments."""
        return 4 * self._shape[0] * self._shape[1]

    def receive_tensor(self, buffer: Tensor) -> Tensor:
        """Where an upload's moments go: the last bytes of ``buffer``."""
        return buffer[len(buffer) - self.num_bytes :].view(torch.float32).view(self._shape)

    def begin(self) -> None:
        """A round begins."""
        base = torch.zeros(self._shape) if self.current is None else self.current.vectors
        self._mean.begin(base.view(-1))
        self._steps.clear()

    def check(self, upload: Message) -> Uploaded:
        """The moments of an upload.

        Raises:
            WeightsRefused: they cannot be an optimizer's.
        """
        vectors = tensor_of(upload, NAME)
        lengths = [
            check_moment(vector, squared=each.squared, most=most)
            for vector, each, most in zip(vectors, self._moments, self._most, strict=True)
        ]
        return Uploaded(vectors, lengths, min(count_of(upload, STEPS), MOST_STEPS))

    def add(self, child: str, uploaded: Uploaded, weight: float) -> None:
        """Merge the moments of an upload whose weights were merged."""
        for vector, length, usual in zip(uploaded.vectors, uploaded.lengths, self._usual, strict=True):
            factor = usual.factor(child, length, 1.0)
            if factor < 1:
                vector.mul_(factor)
        if len(self._moments) > 1:  # Adam's
            mean, square = self._moments
            bound_mean(uploaded.vectors[0], uploaded.vectors[1], SLACK * largest_step(mean.decay, square.decay))
        self._mean.add(uploaded.vectors.view(-1), weight)
        self._steps.append(uploaded.steps)

    def close(self) -> Moments | None:
        """End the round. Returns the newest mean: of this round, if it had uploads with work."""
        if not self._mean.total_work:
            return self.current
        vectors = torch.empty(self._shape)
        self._mean.mean(vectors.view(-1))
        for vector, each in zip(vectors, self._moments, strict=True):
            if each.squared:
                vector.clamp_(min=0)
        # The lower median: one child that lies or is far behind does not move it.
        self.current = Moments(vectors, statistics.median_low(self._steps))
        return self.current

    def saved(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        if self.current is None:
            return {}
        return {SAVED: self.current.vectors, SAVED_STEPS: torch.tensor([float(self.current.steps)])}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from a checkpoint, if it has moments.

        Raises:
            WeightsFileError: they have another shape, or cannot be an optimizer's.
        """
        if SAVED not in tensors:
            return
        vectors, steps = torch.empty(self._shape), torch.empty(1)
        copy_exactly(vectors, tensors[SAVED], f"the checkpoint's {SAVED}")
        copy_exactly(steps, tensors.get(SAVED_STEPS), f"the checkpoint's {SAVED_STEPS}")
        self.current = Moments(vectors, int(steps))
        self.begin()


def largest_step(beta1: float, beta2: float) -> float:
    """The largest ``|m| / sqrt(v)`` that Adam can have, by Cauchy's inequality; see ``marl.training.reach``."""
    room = (1 - beta2) * (1 - beta1 * beta1 / beta2) if beta2 > 0 else 0.0
    return max(1.0, (1 - beta1) / math.sqrt(room)) if room > 0 else math.inf
