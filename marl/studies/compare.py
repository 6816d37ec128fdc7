"""The numbers of a report: each cell's runs, their estimates, and their lines, from the results of single runs."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from marl.studies.results import Result, Row
from marl.studies.statistics import (
    Band,
    Estimate,
    Floats,
    estimate_interquartile_mean,
    estimate_means,
    estimate_ratio,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)
from marl.studies.study_file import METRICS, Cell

POINTS = 200  # of a line
SCORE, *UNITS = METRICS


class Bounded(NamedTuple):
    """An estimate that runs which were not solved may make a bound."""

    estimate: Estimate
    bound: str  # "≥" or "≤": what is known of the value; "" where it is exact


class Line(NamedTuple):
    """A mean over runs along an axis, with its interval."""

    x: Floats  # [points]
    band: Band


class Numbers(NamedTuple):
    """Everything a report says of one cell."""

    cell: Cell
    results: list[Result]
    planned: int  # runs, of which ``results`` have ended
    solved: int
    score: Estimate | None
    costs: dict[str, Bounded]  # what solving took, by unit
    improvement: Estimate | None  # over the baseline, by the metric; None for that one
    speedups: dict[str, Bounded]  # how many times cheaper than at the unit's baseline solving was, by unit
    profile: Line | None  # of the metric
    curves: dict[str, Line]  # by unit


class Comparison(NamedTuple):
    """All cells, and those that the others are compared with."""

    metric: str
    virtual: bool  # whether all seconds are virtual
    baselines: dict[str, Cell]  # by the metric and by unit: the best in time need not be the best in steps
    cells: list[Numbers]  # in the order of the study

    @property
    def baseline(self) -> Cell:
        """The one that is compared with by the metric."""
        return self.baselines[self.metric]

    def named(self, unit: str) -> str:
        """What people are told of a unit, or a metric."""
        return f"virtual {unit}" if self.virtual and unit == "seconds" else unit


def compare_cells(rows: Sequence[Row], metric: str) -> Comparison:
    """The numbers of all cells.

    Children are compared with the best cell of one machine alone, by the metric and in each unit: settings that only
    learn faster would make any number of children look good. A study without either is compared with its first cell.
    """
    of_cell: dict[str, list[Row]] = {}
    for row in rows:
        of_cell.setdefault(row.planned.cell.folder, []).append(row)
    cells = [_alone(some) for some in of_cell.values()]
    baselines = {name: _baseline(cells, name) for name in dict.fromkeys((metric, *UNITS))}
    thresholds = _thresholds(cells, metric)
    return Comparison(
        metric,
        rows[0].planned.config.clock.virtual,
        {name: each.cell for name, each in baselines.items()},
        [_compared(each, baselines, metric, thresholds) for each in cells],
    )


def _alone(rows: list[Row]) -> Numbers:
    """What can be said of a cell without the others."""
    cell = rows[0].planned.cell
    ended = [row.result for row in rows if row.result is not None]
    results = [each for each in ended if all(map(math.isfinite, (each.score, each.solved_steps, each.solved_seconds)))]
    return Numbers(
        cell,
        results,
        len(rows),
        solved=sum(result.solved for result in results),
        score=estimate_interquartile_mean(_column([result.score for result in results])) if results else None,
        costs={unit: _cost(results, cell, unit) for unit in UNITS} if results else {},
        improvement=None,
        speedups={},
        profile=None,
        curves={unit: line for unit in UNITS if (line := _curve(results, _position(cell, unit))) is not None},
    )


def _compared(each: Numbers, baselines: Mapping[str, Numbers], metric: str, thresholds: Floats) -> Numbers:
    """The same cell, with what follows from the others."""
    if not each.results:
        return each
    sign = 1.0 if metric == SCORE else -1.0  # the sooner the better
    values = sign * _values(each, metric)
    profile = performance_profile(values, sign * thresholds)
    others = {name: other for name, other in baselines.items() if other.results and other.cell != each.cell}
    return each._replace(
        improvement=(
            probability_of_improvement(values, sign * _values(others[metric], metric)) if metric in others else None
        ),
        speedups={
            unit: speedup
            for unit in UNITS
            if unit in others and (speedup := _speedup(each, others[unit], unit)) is not None
        },
        profile=Line(thresholds, profile),
    )


def _baseline(cells: Sequence[Numbers], metric: str) -> Numbers:
    alone = [each for each in cells if each.cell.children == 0]
    if len(alone) in (0, len(cells)):
        return cells[0]
    return max(alone, key=lambda each: _goodness(each, metric))


def _goodness(each: Numbers, metric: str) -> tuple[float, float]:
    """Among cells whose mean is only a bound, more solved runs are better than a lower bound."""
    if each.score is None:
        return -math.inf, 0.0
    if metric == SCORE:
        return 0.0, each.score.value
    cost = each.costs[metric]
    return (each.solved / len(each.results) if cost.bound else 1.0), -cost.estimate.value


def _values(each: Numbers, metric: str) -> Floats:
    """What its runs are compared by, [runs, 1]: one environment is one task."""
    if metric == SCORE:
        return _column([result.score for result in each.results])
    return _until_solved(each.results, _spent(each.results, each.cell, metric))


def _until_solved(results: Sequence[Result], spent: Floats) -> Floats:
    """``spent`` of solved runs; infinite for the others, which may never have been solved."""
    return np.where([[result.solved] for result in results], spent, math.inf)


def _spent(results: Sequence[Result], cell: Cell, unit: str) -> Floats:
    """What solving took, or all that a run took which was not solved, [runs, 1]."""
    spent = [result.solved_seconds if unit == "seconds" else result.solved_steps for result in results]
    return _column(spent) / (_nodes(cell) if unit == "steps per child" else 1)


def _column(values: Sequence[float]) -> Floats:
    return np.array(values, np.float64).reshape(-1, 1)


def _cost(results: Sequence[Result], cell: Cell, unit: str) -> Bounded:
    spent = _spent(results, cell, unit)
    estimate = estimate_interquartile_mean(spent)
    # In the quarter that the mean leaves out at the top, how much longer a run would have taken makes no difference.
    exact = interquartile_mean(_until_solved(results, spent)) == estimate.value
    return Bounded(estimate, "" if exact else "≥")


def _speedup(each: Numbers, baseline: Numbers, unit: str) -> Bounded | None:
    """None where nothing can be said, as both may be larger."""
    ours, theirs = _spent(each.results, each.cell, unit), _spent(baseline.results, baseline.cell, unit)
    if (each.costs[unit].bound and baseline.costs[unit].bound) or not (ours > 0).all():
        return None
    bound = "≤" if each.costs[unit].bound else baseline.costs[unit].bound
    return Bounded(estimate_ratio(theirs, ours), bound)


def _thresholds(cells: Sequence[Numbers], metric: str) -> Floats:
    """Where profiles are looked at: a little beyond the range of all scores; from nothing to more than any run took."""
    if metric == SCORE:
        values = np.array([result.score for each in cells for result in each.results])
    else:
        values = np.append(np.concatenate([_spent(each.results, each.cell, metric) for each in cells]), 0.0)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    room = 0.05 * (high - low) or 0.05 * max(1.0, abs(high))
    return np.linspace(low - room if metric == SCORE else 0.0, high + room, POINTS)


def _position(cell: Cell, unit: str) -> Callable[[Result], Floats]:
    """Where on the axis of a unit a run's curve has its points."""
    if unit == "seconds":
        return lambda result: result.curve.seconds
    nodes = _nodes(cell) if unit == "steps per child" else 1
    return lambda result: result.curve.steps / nodes


def _nodes(cell: Cell) -> int:
    return max(1, cell.children)


def _curve(results: Sequence[Result], position: Callable[[Result], Floats]) -> Line | None:
    """The mean curve from where each run has one, to the end of the longest; the others keep their last value."""
    drawn = [result for result in results if result.curve.returns.size]
    if not drawn:
        return None
    start = max(float(position(result)[0]) for result in drawn)
    end = max(float(position(result)[-1]) for result in drawn)
    x = np.linspace(start, max(start, end), POINTS)
    lines = np.array([np.interp(x, position(result), result.curve.returns) for result in drawn])
    return Line(x, estimate_means(lines[:, None]))
