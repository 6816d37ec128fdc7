import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marl.errors import ConfigError
from marl.reports.plots.distribution import summarize
from marl.reports.plots.draw import compare, demand_picture, histogram, learning_curve


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


ODD = ["_old", "cost$1$", "$\\frac{", "a\nb", "\udcff", "x" * 250, "ü", "图", "\\", "%s {}", ""]


@pytest.mark.filterwarnings("error")
def test_names_of_every_kind_are_shown_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = drawn_texts(monkeypatch)
    compare({name: metrics(3) for name in ODD}, tmp_path / "names.png", solved_return=-0.0)
    assert [text for text in texts if text in ODD] == ["_old", "cost$1$", "$\\frac{", "ü", "图", "\\", "%s {}", ""]
    assert {"a b", "?", f"{29 * 'x'}…{30 * 'x'}", "solved at 0"} <= set(texts)
    for name in ODD:
        learning_curve(metrics(3), tmp_path / "title.png", name)
        histogram(np.arange(3.0), summarize(np.arange(3.0)), tmp_path / "title.png", name)
        assert is_png(tmp_path / "title.png")


def drawn_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written into pictures from now on, formulas left out."""
    from matplotlib.text import Text

    texts: list[str] = []
    draw = Text.draw

    def noted(text: Any, *args: Any, **options: Any) -> None:
        if not text.get_parse_math() and text.get_text() not in texts:
            texts.append(text.get_text())
        draw(text, *args, **options)

    monkeypatch.setattr(Text, "draw", noted)
    return texts


@pytest.mark.parametrize("name", ["curve.png", "curve.PDF", "curve"])
def test_a_picture_lies_where_it_is_said_to(name: str, tmp_path: Path) -> None:
    demand_picture(tmp_path / name, "--out")
    learning_curve(metrics(3), tmp_path / name, "x", solved_return=1.0)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing/curve.png", "missing does not exist: make it first"),
        (".", "is a folder"),
        ("curve.exe", "expected a name that ends in png, svg, pdf, jpg, webp, got curve.exe"),
    ],
)
def test_places_for_no_picture_are_refused_at_once(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        demand_picture(tmp_path / name, "--picture")


@pytest.mark.parametrize("returns", [np.array([0.25, 0.5, 1.0]), np.array([-0.0, 0.0]), np.array([1e-9, -1e-9])])
def test_marks_of_a_histogram_have_no_negative_zero(
    returns: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = drawn_texts(monkeypatch)
    histogram(returns, summarize(returns), tmp_path / "histogram.png", "a title")
    assert not [text for text in texts if text.startswith(("mean -0", "median -0"))]
    assert returns.max() < 1 or "median 0.500" in texts


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none here")
@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_lies_where_a_run_draws_is_replaced(kind: str, tmp_path: Path) -> None:
    own, picture = tmp_path / "own.txt", tmp_path / "curve.png"
    own.write_text("mine")
    if kind == "link":
        picture.symlink_to(own)
    else:
        os.mkfifo(picture)
    histogram(np.array([1.0, 2.0]), summarize(np.array([1.0, 2.0])), picture, "a title")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert own.read_text() == "mine"
