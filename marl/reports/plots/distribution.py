"""How the returns of an evaluation are spread: numbers, and a histogram for the terminal."""

import itertools
from typing import NamedTuple

import numpy as np

from marl.reports.numbers import decimals, number_text

RESAMPLES = 10_000
CONFIDENCE = 0.95
# Random numbers drawn at a time: 8 MiB, whatever the number of episodes.
_CHUNK = 2**20


class Summary(NamedTuple):
    """What a set of episode returns looks like."""

    mean: float
    std: float
    median: float
    quartile_1: float
    quartile_3: float
    minimum: float
    maximum: float
    ci_low: float  # bootstrap confidence interval of the mean, 95 %
    ci_high: float
    episodes: int
    cut: int = 0  # of these: ended by a limit of steps, not by the environment


def summarize(returns: np.ndarray, seed: int = 0, *, cut: int = 0) -> Summary:
    """Describe episode returns [episodes]; the same returns and seed give the same interval.

    Raises:
        ValueError: there are no returns.
    """
    values = np.asarray(returns, np.float64).ravel()
    if values.size == 0:
        raise ValueError("expected the return of at least one episode, got none: evaluate more episodes")
    means = _resampled_means(values, np.random.default_rng(seed))
    tail = (1.0 - CONFIDENCE) / 2.0
    ci_low, ci_high = np.quantile(means, [tail, 1.0 - tail])
    quartile_1, median, quartile_3 = np.quantile(values, [0.25, 0.5, 0.75])
    return Summary(
        mean=float(values.mean()),
        std=float(values.std()),
        median=float(median),
        quartile_1=float(quartile_1),
        quartile_3=float(quartile_3),
        minimum=float(values.min()),
        maximum=float(values.max()),
        ci_low=float(ci_low),
        ci_high=float(ci_high),
        episodes=values.size,
        cut=cut,
    )


def _resampled_means(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The means of ``RESAMPLES`` sets, each drawn with replacement and as large as ``values``."""
    means = np.empty(RESAMPLES)
    at_once = max(1, _CHUNK // values.size)
    for start in range(0, RESAMPLES, at_once):
        count = min(at_once, RESAMPLES - start)
        chosen = generator.integers(values.size, size=(count, values.size))
        means[start : start + count] = values[chosen].mean(axis=1)
    return means


def summary_text(summary: Summary) -> str:
    """A summary as aligned lines."""
    cut = f", {summary.cut:,} of them cut: they did not end by themselves" if summary.cut else ""
    numbers = {
        "mean": (summary.mean,),
        "95 % interval": (summary.ci_low, summary.ci_high),
        "std": (summary.std,),
        "median": (summary.median,),
        "quartiles": (summary.quartile_1, summary.quartile_3),
        "range": (summary.minimum, summary.maximum),
    }
    places = decimals(*itertools.chain(*numbers.values()), figures=4)
    rows = [("episodes", f"{summary.episodes:,}{cut}")]
    rows += [(label, " to ".join(number_text(each, places) for each in some)) for label, some in numbers.items()]
    label_width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{label_width}}  {value}" for label, value in rows)


def histogram_text(returns: np.ndarray, width: int = 60, bins: int = 12) -> str:
    """A histogram for the terminal, one line a bar, ``width`` columns wide in all."""
    values = np.asarray(returns, np.float64).ravel()
    values = values[np.isfinite(values)]
    if values.size == 0:
        return "no episodes"
    labels, counts = _bars(values, bins)
    label_width = max(len(label) for label in labels)
    count_width = len(f"{counts.max():,}")
    room = max(width - label_width - count_width - 3, 4)
    lines = []
    for label, count in zip(labels, counts.tolist(), strict=True):
        bar = _bar(count / counts.max(), room)
        lines.append(f"{label:>{label_width}} │{bar:<{room}} {count:>{count_width},}")
    return "\n".join(lines)


def _bars(values: np.ndarray, bins: int) -> tuple[list[str], np.ndarray]:
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= bins:  # wins and losses, say: a bar for each value that occurs
        return _apart(distinct.tolist()), counts
    low, high = distinct[0], distinct[-1]
    step = (high - low) / bins
    if step <= 1e-9 * max(abs(low), abs(high)):  # only rounding tells them apart
        return [f"{low:z,.6g}"], np.array([values.size])
    edges = np.linspace(low, high, bins + 1)
    counts, _ = np.histogram(values, edges)
    digits = int(np.clip(1 - np.floor(np.log10(step)), 0, 15))
    texts = [number_text(edge, digits) for edge in edges.tolist()]
    edge_width = max(len(text) for text in texts)
    labels = [f"{left:>{edge_width}} – {right:>{edge_width}}" for left, right in itertools.pairwise(texts)]
    return labels, counts


def _apart(distinct: list[float]) -> list[str]:
    """Different numbers as different texts."""
    texts = [f"{value:z,.6g}" for value in distinct]
    return texts if len(set(texts)) == len(texts) else [f"{value:z,.17g}" for value in distinct]


def _bar(fraction: float, room: int) -> str:
    eighths = round(fraction * room * 8)
    if fraction > 0.0:
        eighths = max(eighths, 1)  # one episode among thousands must still be seen
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
