"""Numbers about learning for people, by name: each worker writes its own row, a reader reads all rows.

A worker adds a name with the first loss that has it. The first byte of the name is written last: it marks the
name as complete, so that no reader sees half a name.
"""

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from torch import Tensor

from marl.data.node.memory import MAX_METRICS, MAX_NAME, MAX_OUTSIDE, OUTSIDE, SKIPPED, array
from marl.data.shared import SharedBlock
from marl.errors import PluginError

NAME = re.compile(rf"[A-Za-z0-9_.:@/\[\]-]{{1,{MAX_NAME}}}")
SKIPPED_UPDATES, OUTSIDE_OBSERVATIONS = "skipped_updates", "outside_observations"
TOTALS = {SKIPPED_UPDATES: SKIPPED, OUTSIDE_OBSERVATIONS: OUTSIDE}  # columns of "counters"; all others are means


class MetricsRow:
    """The row of one worker."""

    def __init__(self, block: SharedBlock, worker: int) -> None:
        self._numbers: npt.NDArray[np.float64] = block["metrics"][worker].numpy()
        self._names: npt.NDArray[np.uint8] = block["metric_names"][worker].numpy()
        self._columns = {name: column for column, name in enumerate(_names_in(self._names))}  # from before a restart

    def write(self, metrics: Mapping[str, Tensor | float]) -> None:
        """Write the newest numbers.

        Raises:
            PluginError: a name or a number cannot be written, or there are too many.
        """
        for name, value in metrics.items():
            try:
                number = float(value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise PluginError(
                    f"metrics of a loss: expected one number as {name!r:.60}, got {value!r:.60}"
                ) from error
            column = self._columns.get(name)
            if column is None:
                column = self._new(name, number)
            self._numbers[column] = number

    def _new(self, name: str, number: float) -> int:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise PluginError(
                f"metrics of a loss: expected names of at most {MAX_NAME} letters, digits, _.:@/[]-, got {name!r:.80}"
            )
        column = len(self._columns)
        if column == MAX_METRICS:
            raise PluginError(f"metrics of a loss: expected at most {MAX_METRICS} names, got {name!r} besides")
        self._numbers[column] = number
        letters = np.frombuffer(name.encode(), np.uint8)
        self._names[column, 1 : len(letters)] = letters[1:]
        self._names[column, 0] = letters[0]
        self._columns[name] = column
        return column


def read_metrics(block: SharedBlock) -> dict[str, float]:
    """Means by name, over the workers that wrote a number; also the totals that are not 0."""
    told: dict[str, list[float]] = {}
    for numbers, names in zip(block["metrics"].numpy(), block["metric_names"].numpy(), strict=True):
        for name, number in zip(_names_in(names), numbers.tolist(), strict=False):
            if number == number:  # leave out NaN
                told.setdefault(name, []).append(number)
    found = {name: sum(values) / len(values) for name, values in told.items()}
    totals = {name: float(array(block, "counters")[:, column].sum()) for name, column in TOTALS.items()}
    return {**found, **{name: total for name, total in totals.items() if total}}


def tell_outside(place: npt.NDArray[np.uint8], words: str) -> None:
    """Write what was outside its space, once; the first byte last, as with names."""
    if not place[0]:
        letters = np.frombuffer(words.encode()[:MAX_OUTSIDE], np.uint8)
        place[1 : len(letters)] = letters[1:]
        place[0] = letters[0]


def first_outside(block: SharedBlock) -> str:
    """What a worker has seen outside its space, in words; nothing if none has."""
    for place in array(block, "first_outside"):
        if place[0]:
            return place.tobytes().rstrip(b"\0").decode(errors="replace")  # type: ignore[no-any-return]
    return ""


def _names_in(names: npt.NDArray[np.uint8]) -> list[str]:
    """The names in one row, in order."""
    filled = int(np.count_nonzero(names[:, 0]))
    return [each.tobytes().rstrip(b"\0").decode("ascii") for each in names[:filled]]
