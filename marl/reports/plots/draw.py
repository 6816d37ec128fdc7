"""Pictures of runs and evaluations, drawn without a screen and without matplotlib's global state."""

import io
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marl.errors import ConfigError
from marl.loading import loading
from marl.reports.children_table import shortened
from marl.reports.numbers import decimals, exact_text, number_text
from marl.reports.places import demand_file
from marl.reports.plots.distribution import Summary
from marl.reports.run_folder import write_atomic
from marl.words import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too; then the same again, dashed.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_DASHES = ("-", "--", ":", "-.")
MOST = 1e30  # beyond, axes overflow
_BLUE, _GREEN, _GREY = "#0072b2", "#009e73", "#555555"
_LONGEST = 60  # letters of a name in a picture
FORMATS = ("png", "svg", "pdf", "jpg", "webp")


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
    if _format(path) not in FORMATS:
        raise ConfigError(f"{option}: expected a name that ends in {', '.join(FORMATS)}, got {path.name}")


def learning_curve(metrics: list[dict[str, Any]], path: Path, title: str, solved_return: float | None = None) -> None:
    """Draw one run's mean return over steps and over time, with a band of one standard deviation.

    Raises:
        OSError: ``path`` cannot be written.
    """
    figure, axes = _two_panels(title)
    for axis, unit in zip(axes, ("steps", "seconds"), strict=True):
        x, scale = _x_values(metrics, unit)
        mean, std = _column(metrics, "return_mean"), _column(metrics, "return_std")
        band = axis.fill_between(x, mean - std, mean + std, color=_BLUE, alpha=0.18, linewidth=0)
        (line,) = axis.plot(x, mean, color=_BLUE, linewidth=1.8, **_marker(mean))
        legend = {"mean return": line}
        if solved_return is not None:
            legend[_solved_text(solved_return)] = _solved_line(axis, solved_return)
        _label_x(axis, unit, scale)
    axes[0].set_ylabel("mean return of the last episodes")
    _add_legend(figure, {**legend, "± 1 std": band})
    _save(figure, path)


def compare(runs: dict[str, list[dict[str, Any]]], path: Path, solved_return: float | None = None) -> None:
    """Draw the mean returns of several runs, by name, over steps and over time.

    Raises:
        OSError: ``path`` cannot be written.
    """
    figure, axes = _two_panels("")
    for axis, unit in zip(axes, ("steps", "seconds"), strict=True):
        scale = _time_scale([_column(metrics, unit) for metrics in runs.values()], unit)
        legend: dict[str, Any] = {}
        for index, (name, metrics) in enumerate(runs.items()):
            mean = _column(metrics, "return_mean")
            (legend[name],) = axis.plot(
                _column(metrics, unit) / scale,
                mean,
                color=_COLOURS[index % len(_COLOURS)],
                linestyle=_DASHES[index // len(_COLOURS) % len(_DASHES)],
                linewidth=1.6,
                **_marker(mean),
            )
        if solved_return is not None:
            legend[_solved_text(solved_return)] = _solved_line(axis, solved_return)
        _label_x(axis, unit, scale)
    axes[0].set_ylabel("mean return of the last episodes")
    if legend:
        longest = max(len(_shown(label)) for label in legend)
        columns = max(1, min(len(legend), 130 // (longest + 8)))
        _add_legend(figure, legend, columns)
        # The legend grows downwards: the panels keep their height.
        figure.set_figheight(4.2 + 0.22 * math.ceil(len(legend) / columns))
    _save(figure, path)


def histogram(returns: np.ndarray, summary: Summary, path: Path, title: str) -> None:
    """Draw how often each return came, with mean, interval and median marked.

    Raises:
        OSError: ``path`` cannot be written.
    """
    figure = _new_figure(7.5, 4.4)
    from matplotlib.ticker import MaxNLocator

    axis = figure.subplots()
    _plain_style(axis)
    values = np.asarray(returns, np.float64).ravel()
    values = values[np.isfinite(values)]
    axis.hist(values, bins=_edges(values).tolist(), color=_BLUE, alpha=0.55, edgecolor="white", linewidth=0.8)
    places = decimals(summary.ci_low, summary.ci_high, summary.mean, summary.median)
    low, high, mean, median = (
        number_text(each, places) for each in (summary.ci_low, summary.ci_high, summary.mean, summary.median)
    )
    legend = {
        f"95 % interval of the mean {low} to {high}": axis.axvspan(
            summary.ci_low, summary.ci_high, color=_COLOURS[1], alpha=0.22, linewidth=0
        ),
        f"mean {mean}": axis.axvline(summary.mean, color=_COLOURS[1], linewidth=1.8),
        f"median {median}": axis.axvline(summary.median, color=_GREY, linewidth=1.5, linestyle="--"),
    }
    axis.set_title(_shown(title), loc="left", fontweight="bold", parse_math=False)
    axis.set_xlabel("return of an episode")
    axis.set_ylabel(f"episodes (of {summary.episodes:,})")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    _add_legend(figure, legend)
    _save(figure, path)


def _add_legend(figure: "Figure", handles: dict[str, Any], columns: int = 3) -> None:
    """A legend whose labels are shown as they are: matplotlib would leave out those that begin with an underscore, and
    take what stands between dollars for a formula.
    """
    numbers = [str(number) for number in range(len(handles))]
    legend = figure.legend(list(handles.values()), numbers, loc="outside lower center", ncols=columns, frameon=False)
    for text, label in zip(legend.get_texts(), handles, strict=True):
        text.set_text(_shown(label))
        text.set_parse_math(False)


def _shown(name: str) -> str:
    """A name in one line of a bounded length."""
    return shortened(printable(name), _LONGEST)


def _solved_text(solved_return: float) -> str:
    return f"solved at {exact_text(solved_return)}"


def _solved_line(axis: "Axes", solved_return: float) -> Any:
    return axis.axhline(solved_return, color=_GREEN, linewidth=1.2, linestyle="--")


def _new_figure(width: float, height: float) -> "Figure":
    """An empty one; the sides are in inches."""
    with loading():
        from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _two_panels(title: str) -> tuple["Figure", Sequence["Axes"]]:
    figure = _new_figure(10.5, 4.4)
    if title:
        figure.suptitle(_shown(title), fontweight="bold", parse_math=False)
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
    return np.array([_number(row.get(name)) for row in metrics], np.float64)


def _number(value: Any) -> float:
    """What can be drawn; a file may say anything."""
    return float(value) if type(value) in (int, float) and abs(value) < MOST else math.nan


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
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks, as in a name: a box is drawn for them
        figure.savefig(picture, dpi=150, facecolor="white", format=_format(path))
    write_atomic(path, picture.getvalue())


def _format(path: Path) -> str:
    return path.suffix[1:].lower() or "png"
