from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marl.reports.distribution import summarize
from marl.reports.plots import compare, histogram, learning_curve


def metrics(count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"steps": 100 * i, "seconds": 10.0 * i, "return_mean": float(i), "return_std": 1.0} for i in range(count)
    ]
    if rows:
        rows[0].update(return_mean=None, return_std=None)  # before the first episode ended
    return rows


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_learning_curve(count: int, tmp_path: Path) -> None:
    learning_curve(metrics(count), tmp_path / "curve.png", "a title", solved_return=20.0)
    assert is_png(tmp_path / "curve.png")


def test_compare(tmp_path: Path) -> None:
    compare({"none": [], "short": metrics(2), "long": metrics(5000)}, tmp_path / "compare.png")
    compare({}, tmp_path / "empty.png")
    assert is_png(tmp_path / "compare.png")
    assert is_png(tmp_path / "empty.png")


@pytest.mark.parametrize("returns", [np.full(9, 500.0), np.arange(40.0), np.array([-3.0])])
def test_histogram(returns: np.ndarray, tmp_path: Path) -> None:
    histogram(returns, summarize(returns), tmp_path / "histogram.png", "a title")
    assert is_png(tmp_path / "histogram.png")
