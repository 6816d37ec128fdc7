"""The picture of a study: learning curves, scores, and what solving took, a colour for each cell."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marl.reports.plots.style import (
    COLOURS,
    DASHES,
    add_legend,
    label_x,
    marker,
    new_figure,
    plain_style,
    save,
    shown,
    solved_line,
    solved_text,
    time_scale,
)
from marl.studies.compare import SCORE, UNITS, Comparison, Line
from marl.studies.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAND = 0.15  # opacity
_HEIGHT = 3.3  # inches of a row of panels


def draw_study(comparison: Comparison, path: Path, title: str, solved_return: float | None) -> None:
    """Draw everything that the finished runs say; panels without any numbers stay empty.

    Raises:
        OSError: ``path`` cannot be written.
    """
    cells = comparison.cells
    rows = 3 if solved_return is not None else 2
    columns = max(1, min(len(cells), 150 // (max((len(shown(each.cell.label)) for each in cells), default=0) + 8)))
    lines_of_legend = math.ceil((len(cells) + 1) / columns)
    figure = new_figure(13.5, _HEIGHT * rows + 0.5 + 0.22 * lines_of_legend)
    figure.suptitle(shown(title), fontweight="bold", parse_math=False)
    panels: list[list[Axes]] = figure.subplots(rows, 3).tolist()
    for axis in (axis for row in panels for axis in row):
        plain_style(axis)
    legend: dict[str, Any] = {}
    for axis, unit in zip(panels[0], UNITS, strict=True):
        legend |= _curves(axis, comparison, unit)
        if solved_return is not None:
            legend[solved_text(solved_return)] = solved_line(axis, solved_return)
    panels[0][0].set_ylabel("mean return of the last episodes")
    _estimates(panels[1][0], [each.score for each in cells], "final score, interquartile mean")
    _estimates(
        panels[1][1],
        [each.improvement for each in cells],
        f"probability of improvement over {shown(comparison.baseline.label)}",
    )
    panels[1][1].axvline(0.5, color="#999999", linewidth=1.0, linestyle=":")
    panels[1][1].set_xlim(-0.03, 1.03)
    _profiles(panels[1][2], comparison)
    if rows == 3:
        for axis, unit in zip(panels[2], UNITS, strict=True):
            _costs(axis, comparison, unit)
    if legend:
        add_legend(figure, legend, columns)
    save(figure, path)


def _look(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}


def _curves(axis: "Axes", comparison: Comparison, unit: str) -> dict[str, Any]:
    """Draw each cell's mean curve with its band, and return what the legend says of them."""
    cells = comparison.cells
    lines = [each.curves.get(unit) for each in cells]
    kind = "seconds" if unit == "seconds" else "steps"
    scale = time_scale([np.array([max((line.x[-1] for line in lines if line is not None), default=0.0)])], kind)
    drawn = {
        each.cell.label: _line(axis, line, scale, number)
        for number, (each, line) in enumerate(zip(cells, lines, strict=True))
        if line is not None
    }
    _label(axis, comparison, unit, scale)
    return drawn


def _line(axis: "Axes", line: Line, scale: float, number: int) -> Any:
    look = _look(number)
    x = line.x / scale
    axis.fill_between(x, line.band.low, line.band.high, color=look["color"], alpha=_BAND, linewidth=0)
    (drawn,) = axis.plot(x, line.band.value, linewidth=1.8, **look, **marker(line.band.value))
    return drawn


def _estimates(
    axis: "Axes",
    estimates: Sequence[Estimate | None],
    label: str,
    scale: float = 1.0,
    lower_bounds: Collection[int] = (),
) -> None:
    """A point for each cell, the first on top, and a bar for its interval; those that are lower bounds point on."""
    for number, estimate in enumerate(estimates):
        if estimate is None:
            continue
        colour = COLOURS[number % len(COLOURS)]
        if not math.isnan(estimate.low):
            bar = [estimate.low / scale, estimate.high / scale]
            axis.plot(bar, [number, number], color=colour, alpha=0.4, linewidth=7, solid_capstyle="butt")
        shape = ">" if number in lower_bounds else "o"
        axis.plot([estimate.value / scale], [number], color=colour, marker=shape, markersize=7)
    axis.set_ylim(len(estimates) - 0.5, -0.5)
    axis.set_yticks([])
    axis.grid(axis="x", color="#e3e3e3", linewidth=0.8)
    axis.set_xlabel(label)


def _profiles(axis: "Axes", comparison: Comparison) -> None:
    unit = "steps" if comparison.metric.startswith("steps") else comparison.metric
    longest = [each.profile.x for each in comparison.cells if each.profile is not None]
    scale = time_scale(longest, unit) if unit == "seconds" else 1.0
    for number, each in enumerate(comparison.cells):
        if each.profile is not None:
            _line(axis, each.profile, scale, number)
    axis.set_ylim(-0.03, 1.03)
    if comparison.metric == SCORE:
        axis.set_xlabel("final score")
        axis.set_ylabel("share of runs above it")
    else:
        _label_cost(axis, comparison, comparison.metric, scale)
        axis.set_ylabel("share of runs solved")


def _label(axis: "Axes", comparison: Comparison, unit: str, scale: float) -> None:
    label_x(axis, "seconds" if unit == "seconds" else "steps", scale)
    if unit == "steps per child":
        axis.set_xlabel("environment steps per child")
    elif comparison.named(unit) != unit:
        axis.set_xlabel(f"virtual {axis.get_xlabel()}")


def _label_cost(axis: "Axes", comparison: Comparison, unit: str, scale: float) -> None:
    _label(axis, comparison, unit, scale)
    axis.set_xlabel(f"{axis.get_xlabel()} until solved")


def _costs(axis: "Axes", comparison: Comparison, unit: str) -> None:
    """What solving took."""
    cells = comparison.cells
    costs = [each.costs.get(unit) for each in cells]
    kind = "seconds" if unit == "seconds" else "steps"
    longest = max((cost.estimate.value for cost in costs if cost is not None), default=0.0)
    scale = time_scale([np.array([longest])], kind)
    lower_bounds = {number for number, cost in enumerate(costs) if cost is not None and cost.bound}
    _estimates(axis, [None if cost is None else cost.estimate for cost in costs], "", scale, lower_bounds)
    _label_cost(axis, comparison, unit, scale)
    axis.set_xlim(left=0)
