"""What all pictures have in common: colours, axes, legends, files; without a screen and matplotlib's global state."""

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marl.loading import loading
from marl.reports.children_table import shortened
from marl.reports.numbers import exact_text
from marl.reports.run_folder import write_atomic
from marl.words import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too; then the same again, dashed.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("-", "--", ":", "-.")
BLUE, GREEN, GREY = "#0072b2", "#009e73", "#555555"
_LONGEST = 60  # letters of a name in a picture
FORMATS = ("png", "svg", "pdf", "jpg", "webp")


def new_figure(width: float, height: float) -> "Figure":
    """An empty one; the sides are in inches."""
    with loading():
        from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain_style(axis: "Axes") -> None:
    """Thin grey axes at the left and below, and lines for the eye."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#999999")
    axis.tick_params(color="#999999", labelcolor="#333333")
    axis.grid(axis="y", color="#e3e3e3", linewidth=0.8)
    axis.set_axisbelow(True)


def add_legend(figure: "Figure", handles: dict[str, Any], columns: int = 3) -> None:
    """A legend whose labels are shown as they are: matplotlib would leave out those that begin with an underscore, and
    take what stands between dollars for a formula.
    """
    numbers = [str(number) for number in range(len(handles))]
    legend = figure.legend(list(handles.values()), numbers, loc="outside lower center", ncols=columns, frameon=False)
    for text, label in zip(legend.get_texts(), handles, strict=True):
        text.set_text(shown(label))
        text.set_parse_math(False)


def shown(name: str) -> str:
    """A name in one line of a bounded length."""
    return shortened(printable(name), _LONGEST)


def solved_text(solved_return: float) -> str:
    """What a legend calls ``solved_line``."""
    return f"solved at {exact_text(solved_return)}"


def solved_line(axis: "Axes", solved_return: float) -> Any:
    """A line at the return that counts as solved."""
    return axis.axhline(solved_return, color=GREEN, linewidth=1.2, linestyle="--")


def time_scale(columns: list[np.ndarray], unit: str) -> float:
    """Seconds up to five minutes, then minutes, then hours; steps are never scaled."""
    longest = max((float(column[-1]) for column in columns if column.size), default=0.0)
    if unit == "steps" or longest <= 300.0:
        return 1.0
    return 60.0 if longest <= 3 * 3600.0 else 3600.0


def label_x(axis: "Axes", unit: str, scale: float) -> None:
    """Say what the x axis counts: "steps", or seconds divided by ``scale``."""
    from matplotlib.ticker import EngFormatter

    if unit == "steps":
        axis.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axis.set_xlabel("environment steps")
    else:
        axis.set_xlabel("training time (" + {1.0: "seconds", 60.0: "minutes", 3600.0: "hours"}[scale] + ")")


def marker(mean: np.ndarray) -> dict[str, Any]:
    """A line of one point is invisible."""
    return {"marker": "o", "markersize": 4} if np.isfinite(mean).sum() == 1 else {}


def save(figure: "Figure", path: Path) -> None:
    """Write the picture; its ending chooses the format.

    Raises:
        OSError: ``path`` cannot be written.
    """
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks, as in a name: a box is drawn for them
        figure.savefig(picture, dpi=150, facecolor="white", format=picture_format(path))
    write_atomic(path, picture.getvalue())


def picture_format(path: Path) -> str:
    """One of ``FORMATS``, if anything can be written there."""
    return path.suffix[1:].lower() or "png"
