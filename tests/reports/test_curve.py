"""Between 200 and 400 points, however long the run."""

import json
import random
from collections.abc import Callable

import pytest

from marl.reports.plots.curve import MOST, Curve, Point


@pytest.mark.parametrize(
    "length",
    [
        lambda number: 1,
        lambda number: 20,
        lambda number: 20 if number < 5000 else 500,  # a pole that learns to stand
        lambda number: 3 if number < 390 else 100_000,
        lambda number: random.Random(number).choice([1, 1000]),
    ],
)
def test_half_as_many_points_at_least_once_there_were_enough(length: Callable[[int], int]) -> None:
    curve, steps, full = Curve(), 0, False
    for number in range(10_000):
        steps += length(number)
        if steps >= curve.due:
            curve.add(Point(steps, 0.0, 0.0, 0.0))
        full = full or len(curve.points) >= MOST / 2
        assert (MOST / 2 if full else 0) <= len(curve.points) <= MOST
    assert full
    gaps = [b.steps - a.steps for a, b in zip(curve.points, curve.points[1:], strict=False)]
    assert min(gaps) >= curve.spacing
    assert steps - curve.points[-1].steps < curve.spacing


def test_lines_are_what_metrics_are() -> None:
    points = [Point(10, 0.5, -1.0, 0.25), Point(20, 1.0, float("nan"), float("inf"))]
    assert [json.loads(line) for line in Curve(points).lines().splitlines()] == [
        {"steps": 10, "seconds": 0.5, "return_mean": -1.0, "return_std": 0.25},
        {"steps": 20, "seconds": 1.0, "return_mean": None, "return_std": None},
    ]
