"""Running statistics that all workers share: each writes its own row, everyone merges all rows.

Merging follows Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances"
(1979).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MIN_STD = 1e-4
CLIP = 10.0  # a normalised observation further out than this says nothing more


@dataclass(frozen=True)
class RunningStatistics:
    """Running statistics: count, mean and sum of squared deviations of everything seen."""

    count: float
    mean: Array  # [D]
    m2: Array  # [D]

    def std(self) -> Array:
        """Standard deviation [D]; 1 where too little was seen to say."""
        if self.count < 2:
            return np.ones_like(self.mean)
        return np.maximum(np.sqrt(self.m2 / self.count), MIN_STD)


def statistics_of(samples: npt.NDArray[Any]) -> RunningStatistics:
    """Statistics of samples [N, D]."""
    wide = samples.astype(np.float64)
    mean = wide.mean(axis=0) if len(wide) else np.zeros(wide.shape[1])
    return RunningStatistics(float(len(wide)), mean, np.square(wide - mean).sum(axis=0))


def merge(rows: Array) -> RunningStatistics:
    """Statistics of all rows [S, 1 + 2 D] together; each row is count, mean, m2."""
    size = (rows.shape[1] - 1) // 2
    counts, means, m2s = rows[:, 0], rows[:, 1 : 1 + size], rows[:, 1 + size :]
    total = float(counts.sum())
    if total == 0:
        return RunningStatistics(0.0, np.zeros(size), np.zeros(size))
    mean = counts @ means / total
    return RunningStatistics(total, mean, m2s.sum(axis=0) + counts @ np.square(means - mean))


def add(row: Array, new: RunningStatistics) -> None:
    """Fold ``new`` into one row [1 + 2 D], in place."""
    merged = merge(np.stack([row, as_row(new)]))
    row[:] = as_row(merged)


def subtract(whole: RunningStatistics, part: RunningStatistics | None) -> RunningStatistics:
    """Statistics of what ``whole`` has and ``part``, an earlier state of it, has not yet: ``merge`` the other way."""
    if part is None or not part.count:
        return whole
    count = whole.count - part.count
    if count <= 0:
        return RunningStatistics(0.0, np.zeros_like(whole.mean), np.zeros_like(whole.m2))
    mean = (whole.count * whole.mean - part.count * part.mean) / count
    between = np.square(mean - part.mean) * (part.count * count / whole.count)
    return RunningStatistics(count, mean, np.maximum(whole.m2 - part.m2 - between, 0.0))


def beside(first: RunningStatistics, second: RunningStatistics) -> RunningStatistics:
    """Numbers of both together [D1 + D2], counted as the first are."""
    share = first.count / second.count if second.count else 0.0
    return RunningStatistics(
        first.count, np.concatenate([first.mean, second.mean]), np.concatenate([first.m2, second.m2 * share])
    )


def columns(value: RunningStatistics, which: slice) -> RunningStatistics:
    """Of some of the numbers alone."""
    return RunningStatistics(value.count, value.mean[which], value.m2[which])


def as_row(value: RunningStatistics) -> Array:
    """One row [1 + 2 D]."""
    return np.concatenate([[value.count], value.mean, value.m2])


def from_row(row: Array) -> RunningStatistics:
    """The inverse of ``as_row``."""
    size = (len(row) - 1) // 2
    return RunningStatistics(float(row[0]), row[1 : 1 + size], row[1 + size :])


def num_columns(size: int) -> int:
    """Length of the row for ``size`` numbers."""
    return 1 + 2 * size


class Normalizer:
    """Turns raw observations into ones of mean 0 and deviation 1, by frozen statistics that can be exchanged.

    Observations of float64 are narrowed last: where numbers are large and differ little, only then is a difference
    left.
    """

    def __init__(self, size: int) -> None:
        self._wide = np.zeros(size), np.ones(size)  # mean and scale
        self._narrow = np.zeros(size, np.float32), np.ones(size, np.float32)

    def use(self, statistics: RunningStatistics) -> None:
        """Normalise by these from now on."""
        self._wide = statistics.mean.copy(), 1.0 / statistics.std()
        self._narrow = self._wide[0].astype(np.float32), self._wide[1].astype(np.float32)

    def line(self, *, wide: bool) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Means, and what differences from them are multiplied by [D]: in float64 or in float32."""
        return self._wide if wide else self._narrow

    def __call__(self, observations: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Normalise [N, D]."""
        mean, scale = self.line(wide=observations.dtype == np.float64)
        scaled = (observations - mean) * scale
        narrow: npt.NDArray[np.float32] = np.clip(scaled, -CLIP, CLIP, out=scaled).astype(np.float32, copy=False)
        return narrow
