"""``marl plot`` leaves run folders as they are."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from marl.cli.plot import plot
from marl.errors import ConfigError
from marl.reports.plots import draw as plots

Run = Callable[[str], Path]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Makes run folders; the current folder is another."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def made(name: str) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(
            '[environment]\nid = "Acrobot-v1"\nsolved_return = -100.0\n[algorithm]\nname = "ppo"\n'
        )
        rows = [{"steps": step, "seconds": 0.1, "return_mean": -500.0 + step, "return_std": 1.0} for step in (9, 99)]
        (folder / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "curve.png").write_text("its own")
        return folder

    return made


def plotted(*words: object) -> Result:
    result = CliRunner().invoke(plot, [str(word) for word in words], catch_exceptions=True)
    if result.exception is not None:
        raise result.exception
    return result


def test_one_run_is_drawn_into_the_current_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, drawn = run("cost$1$"), []
    monkeypatch.setattr(plots, "learning_curve", lambda rows, path, **words: drawn.append((len(rows), path, words)))
    assert plotted(folder).output == "Picture: cost$1$.png\n"
    assert drawn == [(2, Path("cost$1$.png"), {"title": "Acrobot-v1, ppo", "solved_return": -100.0})]


def test_a_run_folder_stays_as_it_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = run("_old"), run("new")
    before = sorted(first.iterdir())
    plotted(first)
    plotted(first, second)
    assert sorted(path.name for path in Path().iterdir()) == ["_old.png", "runs.png"]
    assert (first / "curve.png").read_text() == "its own"
    monkeypatch.chdir(first)
    with pytest.raises(ConfigError, match="--out FILE"):
        plotted(".")
    assert sorted(first.iterdir()) == before
    plotted(".", "--out", "told.png")
    assert (first / "told.png").is_file()


@pytest.mark.parametrize("beside", [None, "checkpoint.pt", "facts.json", "metrics.jsonl"])
def test_only_a_runs_own_folder_is_left_alone(run: Run, beside: str | None) -> None:
    folder = run("one")
    Path("config.toml").write_text("# of a program")
    if beside is None:
        assert plotted(folder).output == "Picture: one.png\n"
        return
    Path(beside).touch()
    with pytest.raises(ConfigError, match="--out FILE"):
        plotted(folder)


def test_a_place_for_no_picture_is_refused(run: Run) -> None:
    with pytest.raises(ConfigError, match="does not exist: make it first"):
        plotted(run("one"), "--out", "missing/one.png")
