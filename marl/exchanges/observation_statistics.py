"""Checks the statistics of observations that children send; used by all exchanges.

A child's statistics are compared with those of the other children and of the parent itself. They are cut to a range
around these. The range is wide enough to follow an honest child into a new region within a few uploads. It is narrow
enough that a liar cannot spoil the normalisation of the others. The farther away statistics were, the less they count.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from marl.averaging.upload_limits import Weights
from marl.data.normalizer import MIN_STD, Array, RunningStatistics, as_row, from_row, merge
from marl.errors import WeightsRefused

MOST = 1e30  # larger numbers are refused: sums of smaller ones stay finite
SEEN_PER_STEP = 4.0  # most observations per counted step; includes those of resets and of ends of episodes
NEAR = 3.0  # standard deviations of the others: most that a child's mean may differ from theirs; its largest deviation
ENOUGH = 20.0  # observations of the others that are needed for a comparison


class Vetted(NamedTuple):
    """What is merged of a child's statistics."""

    row: Tensor  # [1 + 2 D]
    # Number of observations; it limits how many another child may add. ``row`` has fewer if this child is far from
    # the others.
    counted: float


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

    def vet(self, child: str, said: Tensor, most: float) -> Vetted | None:
        """The part of a child's statistics that is merged; None: nothing.

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
        count, others = statistics.count, self._others(child)
        if others is not None:
            statistics = self._near(statistics, others)
        return Vetted(torch.from_numpy(as_row(statistics)), count)

    def remember(self, child: str, vetted: Vetted) -> None:
        """Remember statistics whose upload was accepted; later ones are compared with them."""
        self._counts.remember(child, vetted.counted)
        row, before = vetted.row.numpy(), self._children.get(child)
        self._children[child] = row if before is None else together(before, row)

    def add(self, child: str, said: Tensor, most: float) -> float:
        """Vet, remember and fold in one call: for an exchange in which no later check can refuse these statistics.

        Returns how many observations were added.

        Raises:
            WeightsRefused: see ``vet``.
        """
        vetted = self.vet(child, said, most)
        if vetted is None:
            return 0.0
        self.remember(child, vetted)
        self.fold([vetted.row])
        return float(vetted.row[0])

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
            theirs = [as_row(self._sample), self._children[child]]  # a single child may reach any region, but slowly
        merged = merge(np.stack([self._before, *theirs]))
        return merged if merged.count >= ENOUGH else self._sample

    def _near(self, statistics: RunningStatistics, others: RunningStatistics) -> RunningStatistics:
        deviation = others.std()
        if self._sample is not None:  # otherwise the others could claim that no number ever varies
            deviation = np.maximum(deviation, self._sample.std())
        constant = deviation <= MIN_STD
        if constant.any():  # such a number may begin to vary, by as much as the largest of all numbers
            deviation = np.where(constant, max(1.0, float((np.abs(others.mean) + deviation).max())), deviation)
        room = NEAR * deviation
        mean = np.clip(statistics.mean, others.mean - room, others.mean + room)
        m2 = np.minimum(statistics.m2, statistics.count * np.square(room))
        # Only the square root: an honest child in a far region still counts enough to move the common statistics there.
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
