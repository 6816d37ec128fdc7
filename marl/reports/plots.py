"""Pictures of runs and evaluations, drawn without a screen and without matplotlib's global state."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marl.reports.distribution import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too; then the same again, dashed.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_DASHES = ("-", "--", ":", "-.")
_BLUE, _GREEN, _GREY = "#0072b2", "#009e73", "#555555"


def learning_curve(metrics: list[dict[str, Any]], path: Path, title: str, solved_return: float | None = None) -> None:
    """Draw one run's mean return over steps and over time, with a band of one standard deviation.

    Raises:
        OSError: ``path`` cannot be written.
    """
    figure, axes = _two_panels(title)
    for axis, unit in zip(axes, ("steps", "seconds"), strict=True):
        x, scale = _x_values(metrics, unit)
        mean, std = _column(metrics, "return_mean"), _column(metrics, "return_std")
        axis.fill_between(x, mean - std, mean + std, color=_BLUE, alpha=0.18, linewidth=0, label="± 1 std")
        axis.plot(x, mean, color=_BLUE, linewidth=1.8, label="mean return", **_marker(mean))
        if solved_return is not None:
            axis.axhline(
                solved_return,
                color=_GREEN,
                linewidth=1.2,
                linestyle="--",
                label=f"solved at {solved_return:,.10g}",
            )
        _label_x(axis, unit, scale)
    axes[0].set_ylabel("mean return of the last episodes")
    handles, labels = axes[0].get_legend_handles_labels()
    order = np.argsort([label == "± 1 std" for label in labels], kind="stable")
    handles, labels = [handles[i] for i in order], [labels[i] for i in order]
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    _save(figure, path)


def compare(runs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw the mean returns of several runs, by name, over steps and over time.

    Raises:
        OSError: ``path`` cannot be written.
    """
    figure, axes = _two_panels("")
    for axis, unit in zip(axes, ("steps", "seconds"), strict=True):
        scale = _time_scale([_column(metrics, unit) for metrics in runs.values()], unit)
        for index, (name, metrics) in enumerate(runs.items()):
            mean = _column(metrics, "return_mean")
            axis.plot(
                _column(metrics, unit) / scale,
                mean,
                color=_COLOURS[index % len(_COLOURS)],
                linestyle=_DASHES[index // len(_COLOURS) % len(_DASHES)],
                linewidth=1.6,
                label=name,
                **_marker(mean),
            )
        _label_x(axis, unit, scale)
    axes[0].set_ylabel("mean return of the last episodes")
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        longest = max(len(label) for label in labels)
        columns = max(1, min(len(labels), 130 // (longest + 8)))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
        # The legend grows downwards: the panels keep their height.
        figure.set_figheight(4.2 + 0.22 * math.ceil(len(labels) / columns))
    _save(figure, path)


def histogram(returns: np.ndarray, summary: Summary, path: Path, title: str) -> None:
    """Draw how often each return came, with mean, interval and median marked.

    Raises:
        OSError: ``path`` cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7.5, 4.4), layout="constrained")
    axis = figure.subplots()
    _plain_style(axis)
    values = np.asarray(returns, np.float64).ravel()
    values = values[np.isfinite(values)]
    axis.hist(values, bins=_edges(values).tolist(), color=_BLUE, alpha=0.55, edgecolor="white", linewidth=0.8)
    axis.axvspan(
        summary.ci_low,
        summary.ci_high,
        color=_COLOURS[1],
        alpha=0.22,
        linewidth=0,
        label=f"95 % interval of the mean {summary.ci_low:,.1f} to {summary.ci_high:,.1f}",
    )
    axis.axvline(summary.mean, color=_COLOURS[1], linewidth=1.8, label=f"mean {summary.mean:,.1f}")
    axis.axvline(summary.median, color=_GREY, linewidth=1.5, linestyle="--", label=f"median {summary.median:,.1f}")
    axis.set_title(title, loc="left", fontweight="bold")
    axis.set_xlabel("return of an episode")
    axis.set_ylabel(f"episodes (of {summary.episodes:,})")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    _save(figure, path)


def _two_panels(title: str) -> tuple["Figure", Sequence["Axes"]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    if title:
        figure.suptitle(title, fontweight="bold")
    axes: Sequence[Axes] = figure.subplots(1, 2, sharey=True).tolist()
    for axis in axes:
        _plain_style(axis)
    return figure, axes


def _plain_style(axis: "Axes") -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#999999")
    axis.tick_params(color="#999999", labelcolor="#333333")
    axis.grid(axis="y", color="#e3e3e3", linewidth=0.8)
    axis.set_axisbelow(True)


def _column(metrics: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([np.nan if row.get(name) is None else row[name] for row in metrics], np.float64)


def _x_values(metrics: list[dict[str, Any]], unit: str) -> tuple[np.ndarray, float]:
    x = _column(metrics, unit)
    scale = _time_scale([x], unit)
    return x / scale, scale


def _time_scale(columns: list[np.ndarray], unit: str) -> float:
    """Seconds up to five minutes, then minutes, then hours; steps are never scaled."""
    longest = max((float(column[-1]) for column in columns if column.size), default=0.0)
    if unit == "steps" or longest <= 300.0:
        return 1.0
    return 60.0 if longest <= 3 * 3600.0 else 3600.0


def _label_x(axis: "Axes", unit: str, scale: float) -> None:
    from matplotlib.ticker import EngFormatter

    if unit == "steps":
        axis.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axis.set_xlabel("environment steps")
    else:
        axis.set_xlabel("training time (" + {1.0: "seconds", 60.0: "minutes", 3600.0: "hours"}[scale] + ")")


def _marker(mean: np.ndarray) -> dict[str, Any]:
    """A line of one point is invisible."""
    return {"marker": "o", "markersize": 4} if np.isfinite(mean).sum() == 1 else {}


def _edges(values: np.ndarray) -> np.ndarray:
    if values.size == 0:
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # all equal: one bar, with room at its sides
        half = 0.5 * max(1.0, 0.02 * abs(low))
        return np.linspace(low - 5 * half, low + 5 * half, 6)
    return np.linspace(low, high, min(30, max(10, math.isqrt(values.size))) + 1)


def _save(figure: "Figure", path: Path) -> None:
    figure.savefig(path, dpi=150, facecolor="white")
