"""Checks the statistics of observations that children send; used by all exchanges.

A child's statistics are compared with those of the other children and of the parent itself. They are cut to a range
around these. The range is wide enough to follow an honest child into a new region within a few uploads. It is narrow
enough that a liar cannot spoil the normalisation of the others. The farther away statistics were, the less they count.
"""

import math

import numpy as np
import torch
from torch import Tensor

from marl.averaging.upload_limits import Weights
from marl.data.normalizer import MIN_STD, Array, RunningStatistics, as_row, from_row, merge
from marl.errors import WeightsRefused

MOST = 1e30  # larger numbers are refused: sums of smaller ones stay finite
SEEN_PER_STEP = 4.0  # most observations per counted step; includes those of resets and of ends of episodes
NEAR = 3.0  # standard deviations of the others: largest distance of a mean from theirs, and largest own deviation
ENOUGH = 20.0  # observations of the others that are needed for a comparison


class Observed:
    """The normaliser's statistics, and what each child has added to them. Not locked."""

    def __init__(
        self, size: int, statistics: RunningStatistics | None = None, sample: RunningStatistics | None = None
    ) -> None:
        """
        Args:
            size: numbers of an observation.
            statistics: of a resumed run.
            sample: what the parent itself has seen of the environment.
        """
        self.statistics = torch.from_numpy(
            as_row(statistics or RunningStatistics(0.0, np.zeros(size), np.zeros(size))).copy()
        )
        self._sample = sample
        self._before = self.statistics.numpy().copy()  # from before this run, so no child can change it
        self._children: dict[str, Array] = {}
        self._counts = Weights()  # limits how much more one child's observations count than the others'

    def vet(self, child: str, said: Tensor, most: float) -> Tensor | None:
        """The part of a child's statistics [1 + 2 D] that is merged; None: nothing.

        Args:
            most: how many observations the child can have made.

        Raises:
            WeightsRefused: they are not finite, or impossible.
        """
        statistics = from_row(_checked(said))
        if not statistics.count or most <= 0:
            return None
        most = min(most, self._counts.weigh(child, statistics.count))
        if statistics.count > most:
            statistics = RunningStatistics(most, statistics.mean, statistics.m2 * (most / statistics.count))
        others = self._others(child)
        if others is not None:
            statistics = self._near(statistics, others)
        return torch.from_numpy(as_row(statistics))

    def remember(self, child: str, vetted: Tensor) -> None:
        """Remember statistics whose upload was accepted; later ones are compared with them."""
        self._counts.remember(child, float(vetted[0]))
        before = self._children.get(child)
        self._children[child] = vetted.numpy() if before is None else together(before, vetted.numpy())

    def fold(self, vetted: list[Tensor]) -> Tensor:
        """Add these to the normaliser's statistics. Returns the sum."""
        if vetted:
            self.statistics = torch.from_numpy(together(self.statistics.numpy(), *(each.numpy() for each in vetted)))
        return self.statistics

    def _others(self, child: str) -> RunningStatistics | None:
        """The statistics of all but this child; None if there is nothing to compare with."""
        theirs = [row for name, row in self._children.items() if name != child]
        if not theirs and child in self._children:
            if self._sample is None:
                return None
            theirs = [as_row(self._sample), self._children[child]]  # an only child may go anywhere, but in steps
        merged = merge(np.stack([self._before, *theirs]))
        return merged if merged.count >= ENOUGH else self._sample

    def _near(self, statistics: RunningStatistics, others: RunningStatistics) -> RunningStatistics:
        deviation = others.std()
        if self._sample is not None:  # the others cannot claim that nothing ever changes
            deviation = np.maximum(deviation, self._sample.std())
        constant = deviation <= MIN_STD
        if constant.any():  # it may begin to change, by as much as other numbers do
            deviation = np.where(constant, max(1.0, float((np.abs(others.mean) + deviation).max())), deviation)
        room = NEAR * deviation
        mean = np.clip(statistics.mean, others.mean - room, others.mean + room)
        m2 = np.minimum(statistics.m2, statistics.count * np.square(room))
        # The square root: an honest child in a far region still counts enough to be followed.
        farthest = float((np.maximum(np.abs(statistics.mean - others.mean), statistics.std()) / room).max())
        counts = statistics.count / math.sqrt(max(1.0, farthest))
        return RunningStatistics(counts, mean, m2 * (counts / statistics.count))


def together(*rows: Array) -> Array:
    """Several statistics as one."""
    return as_row(merge(np.stack(rows)))


def _checked(said: Tensor) -> Array:
    row = said.detach().numpy().astype(np.float64)
    size = (len(row) - 1) // 2
    count, means, squares = float(row[0]), row[1 : 1 + size], row[1 + size :]
    usable = bool(np.isfinite(row).all()) and count >= 0 and not bool((squares < 0).any())
    if not usable or not bool((np.abs(means) < MOST).all()) or not bool((squares < MOST**2).all()):
        raise WeightsRefused(
            f"expected statistics of observations, got {count:g} of them, or numbers that are not finite or beyond 1e30"
        )
    return row
