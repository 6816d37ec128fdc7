"""A learning curve of bounded size: enough points for a picture, however short or long the run is."""

import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

_LARGEST = 1e30  # beyond, axes overflow
MOST = 400  # points; when there are more, at most half of them are dropped: at least 200 are left


class Point(NamedTuple):
    """The mean return at one moment of a run."""

    steps: int
    seconds: float  # of training, over all resumes
    return_mean: float  # of the last episodes, not normalised
    return_std: float


class Curve:
    """Points at least ``spacing`` environment steps apart; the spacing doubles whenever there are too many.

    if steps >= curve.due:
        curve.add(Point(steps, seconds, mean, std))
    """

    def __init__(self, points: Iterable[Point] = (), spacing: int = 1) -> None:
        self.points = list(points)
        self.spacing = spacing

    @property
    def due(self) -> int:
        """Steps from which on the next point is wanted: those before it need not be computed."""
        return self.points[-1].steps + self.spacing if self.points else 0

    def add(self, point: Point) -> None:
        """Keep a point that is due."""
        self.points.append(point)
        while len(self.points) > MOST:
            self.spacing *= 2
            before, self.points = self.points, self.points[:1]
            for each in before[1:]:
                if each.steps >= self.due:
                    self.points.append(each)

    def lines(self) -> bytes:
        """The points as a run folder keeps them: one JSON object a line, with the names that metrics have."""
        rows = [
            {name: value if math.isfinite(value) else None for name, value in point._asdict().items()}
            for point in self.points
        ]
        return "".join(json.dumps(row) + "\n" for row in rows).encode()


def column(rows: list[dict[str, Any]], name: str) -> np.ndarray:
    """What rows of a curve or of metrics say of one quantity; NaN where they say nothing that can be drawn."""
    return np.array([_number(row.get(name)) for row in rows], np.float64)


def _number(value: Any) -> float:
    """What can be drawn; a file may say anything."""
    return float(value) if type(value) in (int, float) and abs(value) < _LARGEST else math.nan
