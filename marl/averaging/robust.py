"""Means that a minority of poisoned uploads cannot move far: each keeps every upload of the round in memory.

Coordinate median and trimmed mean: Yin et al., "Byzantine-Robust Distributed Learning" (2018). Krum and multi-Krum:
Blanchard et al., "Machine Learning with Adversaries" (2017). All but "capped" ignore claimed work, which a liar would
choose.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from marl.averaging.mean import Accepted, Shorten, keep, opened
from marl.averaging.tiles import TILE, DeltaMeter, check_vector
from marl.averaging.upload_limits import cap_shares, check_work


def coordinate_median(uploads: Sequence[Tensor], out: Tensor) -> Tensor:
    """Each number on its own: the middle one, or the mean of the middle two."""
    return trimmed_mean(uploads, out, num_trimmed=(len(uploads) - 1) // 2)


def trimmed_mean(uploads: Sequence[Tensor], out: Tensor, *, num_trimmed: int) -> Tensor:
    """Each number on its own: the mean without the ``num_trimmed`` largest and as many smallest."""
    kept = slice(num_trimmed, len(uploads) - num_trimmed)
    for start in range(0, out.numel(), TILE):
        tile = slice(start, start + TILE)
        ordered = torch.stack([upload[tile] for upload in uploads]).sort(0).values
        torch.mean(ordered[kept], 0, out=out[tile])
    return out


def krum_order(uploads: Sequence[Tensor], *, num_bad: int) -> list[int]:
    """Uploads from most to least central: by the sum of squared distances to their nearest N - num_bad - 2 others."""
    squared = [[0.0] * len(uploads) for _ in uploads]
    meter = DeltaMeter()
    for first in range(len(uploads)):
        for second in range(first):
            squared[first][second] = squared[second][first] = meter.squares(uploads[first], uploads[second])
    num_nearest = max(1, len(uploads) - num_bad - 2)
    scores = [sum(sorted(row[:me] + row[me + 1 :])[:num_nearest]) for me, row in enumerate(squared)]
    return sorted(range(len(uploads)), key=scores.__getitem__)


def multi_krum(uploads: Sequence[Tensor], out: Tensor, *, num_bad: int, num_kept: int) -> Tensor:
    """The plain mean of the ``num_kept`` most central uploads; 1 is Krum."""
    kept = krum_order(uploads, num_bad=num_bad)[:num_kept]
    return trimmed_mean([uploads[index] for index in kept], out, num_trimmed=0)


def clipped_mean(uploads: Sequence[Tensor], base: Tensor, out: Tensor) -> Tensor:
    """The mean of the deltas, each cut to the length of the median one."""
    meter = DeltaMeter()
    norms = [meter.norm(upload, base) for upload in uploads]
    limit = statistics.median(norms)
    shares = [min(1.0, limit / norm) / len(uploads) if norm else 0.0 for norm in norms]
    difference, delta = torch.empty(2, min(TILE, out.numel()))
    for start in range(0, out.numel(), TILE):
        tile = slice(start, start + TILE)
        size = out[tile].numel()
        total = delta[:size].zero_()
        for upload, share in zip(uploads, shares, strict=True):
            total.add_(torch.sub(upload[tile], base[tile], out=difference[:size]), alpha=share)
        torch.add(base[tile], total, out=out[tile])
    return out


def capped_mean(uploads: Sequence[Tensor], work: Sequence[float], out: Tensor) -> Tensor:
    """The mean weighted by work, of which no child has more than twice an equal share."""
    capped = cap_shares(work, 2 / len(uploads))
    total = sum(capped)
    torch.mul(uploads[0], capped[0] / total, out=out)
    for upload, weight in zip(uploads[1:], capped[1:], strict=True):
        out.add_(upload, alpha=weight / total)
    return out


def assumed_bad(num_uploads: int) -> int:
    """How many poisoned uploads the rules assume: a fifth, at least one where Krum's N >= 2 f + 3 allows it."""
    return min(max(1, num_uploads // 5), max(0, (num_uploads - 3) // 2))


Rule = Callable[[Sequence[Tensor], Sequence[float], Tensor, Tensor], Tensor]  # uploads, their work, base, out

RULES: Mapping[str, Rule] = {
    "capped": lambda uploads, work, base, out: capped_mean(uploads, work, out),
    "clip": lambda uploads, work, base, out: clipped_mean(uploads, base, out),
    "median": lambda uploads, work, base, out: coordinate_median(uploads, out),
    "trimmed": lambda uploads, work, base, out: trimmed_mean(uploads, out, num_trimmed=assumed_bad(len(uploads))),
    "krum": lambda uploads, work, base, out: multi_krum(uploads, out, num_bad=assumed_bad(len(uploads)), num_kept=1),
    "multikrum": lambda uploads, work, base, out: multi_krum(
        uploads, out, num_bad=assumed_bad(len(uploads)), num_kept=len(uploads) - assumed_bad(len(uploads))
    ),
}


class RobustMean:
    """One of ``RULES`` behind the promise of ``Merge``."""

    def __init__(self, num_weights: int, rule: str) -> None:
        self._rule = RULES[rule]
        self._num_weights = num_weights
        self._meter = DeltaMeter()
        self._base: Tensor | None = None
        self._work: list[float] = []
        self._uploads: list[Tensor] = []  # reused from round to round; the first num_uploads are of this one
        self.total_work = 0.0
        self.num_uploads = 0

    def begin(self, base: Tensor) -> None:
        """See ``Merge.begin``."""
        check_vector(base, self._num_weights)
        self._base = base
        self._work.clear()
        self.total_work = 0.0
        self.num_uploads = 0

    def add(self, upload: Tensor, work: float, *, is_delta: bool = False, shorten: Shorten = keep) -> Accepted:
        """See ``Merge.add``."""
        base = opened(self._base)
        check_work(work)
        check_vector(upload, self._num_weights)
        norm = self._meter.norm(upload, None if is_delta else base)
        factor = shorten(norm)
        if not factor:
            return Accepted(norm, factor)
        if self.num_uploads == len(self._uploads):
            self._uploads.append(torch.empty(self._num_weights))
        copy = self._uploads[self.num_uploads]
        torch.add(base, upload, out=copy, alpha=factor) if is_delta else copy.copy_(upload)
        if factor < 1 and not is_delta:
            torch.lerp(base, upload, factor, out=copy)
        self._work.append(work)
        self.total_work += work
        self.num_uploads += 1
        return Accepted(norm, factor)

    def mean(self, out: Tensor) -> Tensor:
        """See ``Merge.mean``."""
        base = opened(self._base)
        if not self.total_work:
            raise ValueError("expected work to average, got none: a round without it makes no new version")
        return self._rule(self._uploads[: self.num_uploads], self._work, base, out)
