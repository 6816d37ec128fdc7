"""Pictures of runs and evaluations, drawn without a screen and without matplotlib's global state."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marl.errors import ConfigError
from marl.reports.numbers import decimals, number_text
from marl.reports.places import demand_file
from marl.reports.plots.curve import column
from marl.reports.plots.distribution import Summary
from marl.reports.plots.style import (
    BLUE,
    COLOURS,
    DASHES,
    FORMATS,
    GREY,
    add_legend,
    label_x,
    marker,
    new_figure,
    picture_format,
    plain_style,
    save,
    shown,
    solved_line,
    solved_text,
    time_scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def demand_picture(path: Path, option: str) -> None:
    """Refuse a place for a picture before anything is done for it.

    Raises:
        ConfigError: its folder does not exist or may not be written, it is no file, or its ending names no format.
    """
    demand_file(path, option)
    if not path.parent.is_dir():
        raise ConfigError(f"{option}: the folder {path.parent} does not exist: make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{option}: {path} may not be written: choose another place")
    if picture_format(path) not in FORMATS:
        raise ConfigError(f"{option}: expected a name that ends in {', '.join(FORMATS)}, got {path.name}")


def learning_curve(metrics: list[dict[str, Any]], path: Path, title: str, solved_return: float | None = None) -> None:
    """Draw one run's mean return over steps and over time, with a band of one standard deviation.

    Raises:
        OSError: ``path`` cannot be written.
    """
    figure, axes = _two_panels(title)
    for axis, unit in zip(axes, ("steps", "seconds"), strict=True):
        x, scale = _x_values(metrics, unit)
        mean, std = column(metrics, "return_mean"), column(metrics, "return_std")
        band = axis.fill_between(x, mean - std, mean + std, color=BLUE, alpha=0.18, linewidth=0)
        (line,) = axis.plot(x, mean, color=BLUE, linewidth=1.8, **marker(mean))
        legend = {"mean return": line}
        if solved_return is not None:
            legend[solved_text(solved_return)] = solved_line(axis, solved_return)
        label_x(axis, unit, scale)
    axes[0].set_ylabel("mean return of the last episodes")
    add_legend(figure, {**legend, "± 1 std": band})
    save(figure, path)


def compare(runs: dict[str, list[dict[str, Any]]], path: Path, solved_return: float | None = None) -> None:
    """Draw the mean returns of several runs, by name, over steps and over time.

    Raises:
        OSError: ``path`` cannot be written.
    """
    figure, axes = _two_panels("")
    for axis, unit in zip(axes, ("steps", "seconds"), strict=True):
        scale = time_scale([column(metrics, unit) for metrics in runs.values()], unit)
        legend: dict[str, Any] = {}
        for index, (name, metrics) in enumerate(runs.items()):
            mean = column(metrics, "return_mean")
            (legend[name],) = axis.plot(
                column(metrics, unit) / scale,
                mean,
                color=COLOURS[index % len(COLOURS)],
                linestyle=DASHES[index // len(COLOURS) % len(DASHES)],
                linewidth=1.6,
                **marker(mean),
            )
        if solved_return is not None:
            legend[solved_text(solved_return)] = solved_line(axis, solved_return)
        label_x(axis, unit, scale)
    axes[0].set_ylabel("mean return of the last episodes")
    if legend:
        longest = max(len(shown(label)) for label in legend)
        columns = max(1, min(len(legend), 130 // (longest + 8)))
        add_legend(figure, legend, columns)
        # The legend grows downwards: the panels keep their height.
        figure.set_figheight(4.2 + 0.22 * math.ceil(len(legend) / columns))
    save(figure, path)


def histogram(returns: np.ndarray, summary: Summary, path: Path, title: str) -> None:
    """Draw how often each return came, with mean, interval and median marked.

    Raises:
        OSError: ``path`` cannot be written.
    """
    figure = new_figure(7.5, 4.4)
    from matplotlib.ticker import MaxNLocator

    axis = figure.subplots()
    plain_style(axis)
    values = np.asarray(returns, np.float64).ravel()
    values = values[np.isfinite(values)]
    axis.hist(values, bins=_edges(values).tolist(), color=BLUE, alpha=0.55, edgecolor="white", linewidth=0.8)
    places = decimals(summary.ci_low, summary.ci_high, summary.mean, summary.median)
    low, high, mean, median = (
        number_text(each, places) for each in (summary.ci_low, summary.ci_high, summary.mean, summary.median)
    )
    legend = {
        f"95 % interval of the mean {low} to {high}": axis.axvspan(
            summary.ci_low, summary.ci_high, color=COLOURS[1], alpha=0.22, linewidth=0
        ),
        f"mean {mean}": axis.axvline(summary.mean, color=COLOURS[1], linewidth=1.8),
        f"median {median}": axis.axvline(summary.median, color=GREY, linewidth=1.5, linestyle="--"),
    }
    axis.set_title(shown(title), loc="left", fontweight="bold", parse_math=False)
    axis.set_xlabel("return of an episode")
    axis.set_ylabel(f"episodes (of {summary.episodes:,})")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(figure, legend)
    save(figure, path)


def _two_panels(title: str) -> tuple["Figure", Sequence["Axes"]]:
    figure = new_figure(10.5, 4.4)
    if title:
        figure.suptitle(shown(title), fontweight="bold", parse_math=False)
    axes: Sequence[Axes] = figure.subplots(1, 2, sharey=True).tolist()
    for axis in axes:
        plain_style(axis)
    return figure, axes


def _x_values(metrics: list[dict[str, Any]], unit: str) -> tuple[np.ndarray, float]:
    x = column(metrics, unit)
    scale = time_scale([x], unit)
    return x / scale, scale


def _edges(values: np.ndarray) -> np.ndarray:
    if values.size == 0:
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # all equal: one bar, with room at its sides
        half = 0.5 * max(1.0, 0.02 * abs(low))
        return np.linspace(low - 5 * half, low + 5 * half, 6)
    return np.linspace(low, high, min(30, max(10, math.isqrt(values.size))) + 1)
