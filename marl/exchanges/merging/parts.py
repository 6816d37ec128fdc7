"""Rounds that share one part of the weights each, in turn: each sends as much less, and no moment sends everything.

Douillard et al., "Streaming DiLoCo with overlapping communication" (2025, arXiv 2501.18512). There a part is some
layers of a network; here it is a stretch of the vector of weights. The round upon version v shares part v mod P. Each
other part stays as it is at every child until its turn.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class Parts:
    """P contiguous parts of N weights, as equal as they can be."""

    def __init__(self, size: int, count: int) -> None:
        self.size, self.count = size, count
        self._ends: Sequence[int] = [size * index // count for index in range(count + 1)]

    def of(self, version: int) -> slice:
        """The part that a round upon the weights of this version shares."""
        index = version % self.count
        return slice(self._ends[index], self._ends[index + 1])

    def length(self, version: int) -> int:
        """Of that part."""
        part = self.of(version)
        return int(part.stop - part.start)

    def fill(self, version: int, weights: Tensor, others: Tensor) -> None:
        """Copy all but this part of ``others`` [N] to ``weights`` [N]."""
        part = self.of(version)
        weights[: part.start].copy_(others[: part.start])
        weights[part.stop :].copy_(others[part.stop :])

    def with_part(self, version: int, others: Tensor, part: Tensor) -> Tensor:
        """A copy of ``others`` [N] with this part of ``part`` [N]; ``part`` itself, where there is but one."""
        if self.count == 1:
            return part
        weights = torch.empty_like(others)
        self.fill(version, weights, others)
        weights[self.of(version)] = part[self.of(version)]
        return weights
