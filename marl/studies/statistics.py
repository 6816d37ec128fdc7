"""How runs of few seeds compare, as in Agarwal et al. 2021, "Deep RL at the Edge of the Statistical Precipice".

Scores are matrices [runs, tasks]. Every interval is a percentile bootstrap of 95 %: runs are drawn with replacement
within each task, which is a stratum. The same scores give the same numbers.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 0
CUT = 0.25  # of the scores, at either end, that an interquartile mean leaves out
_CHUNK = 2**20  # random numbers drawn at a time: 8 MiB, whatever the number of runs


class Estimate(NamedTuple):
    """A number and its interval; both ends are NaN where a single run says nothing about the spread."""

    value: float
    low: float
    high: float


class Band(NamedTuple):
    """One estimate for each point of a line."""

    value: Floats  # [points]
    low: Floats
    high: Floats


def interquartile_mean(scores: Floats) -> float:
    """Mean of the middle half of all scores [runs, tasks]."""
    return float(_middle_means(scores.reshape(1, -1))[0])


def estimate_interquartile_mean(scores: Floats) -> Estimate:
    """The interquartile mean of [runs, tasks], with its interval."""
    value = interquartile_mean(scores)
    return _estimate(value, [scores], lambda generator: _drawn_middle_means(scores, generator))


def estimate_ratio(scores: Floats, others: Floats) -> Estimate:
    """How many times the interquartile mean of others the one of ``scores`` is; both are [runs, tasks], above 0."""
    value = interquartile_mean(scores) / interquartile_mean(others)

    def ratios(generator: np.random.Generator) -> Floats:
        return _drawn_middle_means(scores, generator) / _drawn_middle_means(others, generator)

    return _estimate(value, [scores, others], ratios)


def probability_of_improvement(scores: Floats, baseline: Floats) -> Estimate:
    """How likely a run of ``scores`` is to beat one of ``baseline`` on the same task, ties half; the mean over tasks.

    Both are [runs, tasks]; their numbers of runs may differ. For one task it is the statistic of Mann and Whitney,
    divided by its largest value.
    """
    wins = np.where(scores[:, None] > baseline, 1.0, np.where(scores[:, None] == baseline, 0.5, 0.0))
    # [runs, baseline runs, tasks]

    def means(generator: np.random.Generator) -> Floats:
        drawn = []
        for count in _chunks(wins.size):
            ours = _drawn_counts(generator, count, scores.shape)
            theirs = _drawn_counts(generator, count, baseline.shape)
            drawn.append(np.einsum("cit,ijt,cjt->c", ours, wins, theirs, optimize=True) / wins.size)
        return np.concatenate(drawn)

    return _estimate(float(wins.mean()), [scores, baseline], means)


def performance_profile(scores: Floats, thresholds: Floats) -> Band:
    """The share of runs whose score is above each threshold, over all tasks; scores may be infinite."""
    return estimate_means((scores[..., None] > thresholds).astype(np.float64))


def estimate_means(lines: Floats) -> Band:
    """The mean of [runs, tasks, points] over runs and tasks, point by point."""
    runs, tasks, points = lines.shape
    value = lines.mean((0, 1))
    if runs < 2:
        return Band(value, np.full(points, np.nan), np.full(points, np.nan))
    generator = np.random.default_rng(SEED)
    flat = lines.reshape(runs * tasks, points)
    means = [
        _drawn_counts(generator, count, (runs, tasks)).reshape(count, -1) @ flat / (runs * tasks)
        for count in _chunks(max(runs * tasks, points))
    ]
    low, high = _ends(np.concatenate(means))
    return Band(value, low, high)


def _middle_means(rows: Floats) -> Floats:
    """The mean of the middle half of each row; whole scores are left out, as ``scipy.stats.trim_mean`` does."""
    cut = int(CUT * rows.shape[1])
    return np.sort(rows, axis=1)[:, cut : rows.shape[1] - cut].mean(axis=1)  # type: ignore[no-any-return]


def _estimate(value: float, samples: Sequence[Floats], resample: Callable[[np.random.Generator], Floats]) -> Estimate:
    """``resample`` draws ``RESAMPLES`` values; a sample of one run would always be drawn as it is."""
    if min(len(each) for each in samples) < 2:
        return Estimate(value, np.nan, np.nan)
    return Estimate(value, *_ends(resample(np.random.default_rng(SEED))).tolist())


def _drawn_middle_means(scores: Floats, generator: np.random.Generator) -> Floats:
    """The interquartile means of ``RESAMPLES`` resamples of [runs, tasks]."""
    (runs, num_tasks), tasks = scores.shape, np.arange(scores.shape[1])
    means = []
    for count in _chunks(scores.size):
        chosen = generator.integers(runs, size=(count, runs, num_tasks))
        means.append(_middle_means(scores[chosen, tasks].reshape(count, -1)))
    return np.concatenate(means)


def _drawn_counts(generator: np.random.Generator, count: int, shape: tuple[int, ...]) -> Floats:
    """How often each run is drawn: [count, runs, tasks]; the sum over the runs of a task is their number."""
    runs, tasks = shape
    equal = np.full(runs, 1.0 / runs)
    drawn = generator.multinomial(runs, equal, size=(count, tasks))  # [count, tasks, runs]
    return drawn.transpose(0, 2, 1).astype(np.float64)


def _chunks(size: int) -> Iterator[int]:
    """``RESAMPLES`` in parts, of which each takes bounded memory; ``size``: numbers of one resample."""
    at_once = max(1, _CHUNK // size)
    for start in range(0, RESAMPLES, at_once):
        yield min(at_once, RESAMPLES - start)


def _ends(drawn: Floats) -> Floats:
    """The lower and the upper end of the interval, along the first axis."""
    tail = (1.0 - CONFIDENCE) / 2.0
    return np.quantile(drawn, [tail, 1.0 - tail], axis=0)
