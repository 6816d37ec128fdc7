"""The mean of what children upload, as a running sum: one buffer, however many children there are."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from marl.averaging.tiles import DeltaMeter, check_vector
from marl.averaging.upload_limits import check_work

# The norm of a delta -> what to multiply it by, at most 1; 0: it has no say in the mean.
Shorten = Callable[[float], float]


def keep(unused_norm: float) -> float:
    """Deltas are merged as long as they are."""
    return 1.0


class Accepted(NamedTuple):
    """What became of an upload."""

    norm: float  # of its delta, before clipping
    factor: float  # its delta was multiplied by this; below 1: clipped; 0: it has no say in the mean


class Merge(Protocol):
    """Makes one vector out of a round's uploads; not thread-safe, the caller holds its lock.

    merge.begin(weights)
    merge.add(upload, work)          # once a child
    if merge.total_work:
        merge.mean(out)
    """

    total_work: float
    num_uploads: int

    def begin(self, base: Tensor) -> None:
        """Open a round upon the global weights [N], which must stay as they are until ``mean``."""

    def add(self, upload: Tensor, work: float, *, is_delta: bool = False, shorten: Shorten = keep) -> Accepted:
        """Merge a child's weights, or its delta from ``base``; an upload that raises has left no trace.

        Args:
            shorten: is asked once the delta was found to be finite.

        Raises:
            WeightsRefused: it is not finite, of another length, or its work is no count.
        """

    def mean(self, out: Tensor) -> Tensor:
        """Write the round's weights into ``out`` [N] and return it; ``out`` may be ``base``.

        Raises:
            ValueError: there was no work to average.
        """


class RunningMean:
    """The mean weighted by work."""

    def __init__(self, num_weights: int) -> None:
        self._sum = torch.zeros(num_weights)
        self._meter = DeltaMeter()
        self._base: Tensor | None = None
        # The mean is (sum + base_work * base) / total_work: a delta, and what clipping took, count for the base.
        self._base_work = 0.0
        self._empty = True
        self.total_work = 0.0
        self.num_uploads = 0

    def begin(self, base: Tensor) -> None:
        """See ``Merge.begin``."""
        check_vector(base, self._sum.numel())
        self._base = base
        self._base_work = self.total_work = 0.0
        self._empty = True
        self.num_uploads = 0

    def add(self, upload: Tensor, work: float, *, is_delta: bool = False, shorten: Shorten = keep) -> Accepted:
        """See ``Merge.add``."""
        base = opened(self._base)
        check_work(work)
        check_vector(upload, self._sum.numel())
        norm = self._meter.norm(upload, None if is_delta else base)
        factor = shorten(norm)
        if not factor:
            return Accepted(norm, factor)
        self.accumulate(upload, work * factor)
        self.total_work += work
        self._base_work += work if is_delta else work * (1 - factor)
        self.num_uploads += 1
        return Accepted(norm, factor)

    def accumulate(self, upload: Tensor, weight: float) -> None:
        """The bare sum, without checks."""
        if self._empty:
            torch.mul(upload, weight, out=self._sum)  # the first of a round also clears the last one
        else:
            self._sum.add_(upload, alpha=weight)
        self._empty = False

    def mean(self, out: Tensor) -> Tensor:
        """See ``Merge.mean``."""
        base = opened(self._base)
        if not self.total_work:
            raise ValueError("expected work to average, got none: a round without it makes no new version")
        if not self._base_work:
            return torch.div(self._sum, self.total_work, out=out)
        # base times 1 is base to the bit, so that deltas of zero leave it alone.
        scaled = torch.mul(base, self._base_work / self.total_work, out=out)
        return scaled.add_(self._sum, alpha=1 / self.total_work)


def opened(base: Tensor | None) -> Tensor:
    """The base of the round that ``begin`` opened."""
    if base is None:
        raise ValueError("expected begin(base) before the first upload")
    return base
