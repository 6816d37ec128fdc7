"""The report of runs that have ended, from numbers a person can work out."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from marl.studies.compare import compare_cells
from marl.studies.report import write_report
from marl.studies.results import Row, read_row
from marl.studies.study_file import read_study
from tests.studies.files import SMALL, VIRTUALLY, finish, needs_clock, planned, quick, written

TWO = SMALL.replace("seeds = [1, 2]", "seeds = [1, 2]\nchildren = [2]")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, pictures=True)


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture is drawn."""
    quick(monkeypatch, pictures=False)


def rows(tmp_path: Path, text: str = SMALL, scores: Sequence[float | None] = (10.0, 480.0, 30.0, 490.0)) -> list[Row]:
    """Of ``SMALL``, where the second variant is solved after 1,000 and 2,000 steps; None: a run that is missing."""
    runs = planned(tmp_path, text)
    for run, score in zip(runs, scores, strict=True):
        if score is not None:
            solved = score > 475
            finish(run, reason="solved" if solved else "steps", score=score, steps=1000 * run.seed if solved else 3000)
    return [read_row(run) for run in runs]


def test_numbers_of_each_cell(tmp_path: Path) -> None:
    comparison = compare_cells(rows(tmp_path), "score")
    slow, fast = comparison.cells
    assert comparison.baseline == slow.cell
    assert (slow.cell.label, fast.cell.label) == ("slow", "fast")
    assert slow.score is not None
    assert fast.score is not None
    assert (slow.score.value, fast.score.value) == (20.0, 485.0)
    assert (slow.score.low, slow.score.high) == (10.0, 30.0)
    assert slow.improvement is None
    assert fast.improvement == (1.0, 1.0, 1.0)
    assert (slow.solved, fast.solved) == (0, 2)
    assert {unit: cost.estimate.value for unit, cost in fast.costs.items()} == {
        "steps": 1500.0,
        "steps per child": 1500.0,
        "seconds": 1.5,
    }
    assert fast.costs["steps"].bound == ""
    assert slow.costs["steps"].estimate.value == 3000.0
    assert slow.costs["steps"].bound == "≥"
    assert {unit: (speedup.estimate.value, speedup.bound) for unit, speedup in fast.speedups.items()} == {
        "steps": (2.0, "≥"),
        "steps per child": (2.0, "≥"),
        "seconds": (2.0, "≥"),
    }


def test_cells_are_compared_by_what_solving_took(tmp_path: Path) -> None:
    """A run that was not solved is worse than any that was, at whatever score; of two such runs none is better."""
    slow, fast = compare_cells(rows(tmp_path, scores=(10.0, 9.0, 480.0, 490.0)), "steps").cells
    # The slow one is solved after 2,000 steps with the second seed; so is the fast one.
    assert fast.improvement is not None
    assert fast.improvement.value == (0.5 + 0.0 + 1.0 + 0.5) / 4
    assert slow.profile is not None
    at = np.searchsorted(slow.profile.x, 2000.0)
    assert (slow.profile.x[0], slow.profile.x[-1]) == (0.0, pytest.approx(3150.0))
    assert slow.profile.band.value[[0, at - 1, at, -1]].tolist() == [0.0, 0.0, 0.5, 0.5]


def test_children_are_compared_with_the_best_cell_of_one_machine(tmp_path: Path) -> None:
    text = SMALL.replace("seeds = [1, 2]", "seeds = [1, 2]\nchildren = [0, 4]")
    scores = [10.0, 480.0, 490.0, 480.0, 30.0, 480.0, 480.0, 480.0]
    some = rows(tmp_path, text, scores)
    comparison = compare_cells(some, "steps per child")
    assert comparison.baseline.label == "fast, one machine"
    *_, alone, children = comparison.cells
    assert (alone.improvement, alone.speedups) == (None, {})
    assert children.speedups["steps per child"].estimate.value == 4.0
    assert children.speedups["steps"].estimate.value == 1.0
    slow_alone, *_ = comparison.cells
    assert (slow_alone.speedups["steps"].bound, slow_alone.speedups["steps"].estimate.value) == ("≤", 0.5)
    # Of the same runs, the first has the best score.
    assert compare_cells(some, "score").baseline.label == "fast, one machine"
    assert compare_cells([row for row in some if row.planned.cell.children], "score").baseline.label == (
        "slow, 4 children"
    )


ALONE_AND_NOT = SMALL.replace("seeds = [1, 2]", "seeds = [1, 2]\nchildren = [0, 4]")
# The order of runs: slow alone, slow on children, fast alone, fast on children; with the first seed, then the second.


@pytest.mark.parametrize("bad", [[10.0, 10.0], [None, None]])
@pytest.mark.parametrize("metric", ["score", "steps per child", "seconds"])
def test_a_cell_that_is_never_solved_is_no_baseline_of_speedups(
    tmp_path: Path, bad: list[float | None], metric: str
) -> None:
    """The better one alone is solved by one seed of two."""
    scores = [bad[0], 10.0, 480.0, 480.0, bad[1], 10.0, 10.0, 480.0]
    comparison = compare_cells(rows(tmp_path, ALONE_AND_NOT, scores), metric)
    assert {cell.label for cell in comparison.baselines.values()} == {"fast, one machine"}
    children = comparison.cells[-1]
    # Alone: 1,000 steps, and 3,000 unsolved ones; 4 children: 1,000 and 2,000.
    speedup = children.speedups["steps per child"]
    assert (speedup.estimate.value, speedup.bound) == (pytest.approx(2000 / (1500 / 4)), "≥")


@pytest.mark.usefixtures("unseen")
def test_speedups_in_each_unit_are_against_the_best_in_it(tmp_path: Path) -> None:
    runs = planned(tmp_path, ALONE_AND_NOT)
    shapes = {  # steps, steps a second, score
        "slow, one machine": (1000, 10.0, 499.0),
        "slow, 4 children": (2000, 10.0, 480.0),
        "fast, one machine": (3000, 100.0, 498.0),
        "fast, 4 children": (3000, 25.0, 498.0),
    }
    for run in runs:
        steps, rate, score = shapes[run.cell.label]
        finish(run, reason="solved", score=score, steps=steps, rate=rate)
    some = [read_row(run) for run in runs]
    comparison = compare_cells(some, "score")
    assert comparison.baseline.label == "slow, one machine"
    slow, _, fast, children = comparison.cells
    assert children.speedups["seconds"].estimate.value == 30.0 / 120.0
    assert children.speedups["steps per child"].estimate.value == 1000.0 / 750.0
    assert (set(slow.speedups), set(fast.speedups)) == ({"seconds"}, {"steps", "steps per child"})
    write_report(read_study(tmp_path / "small.toml"), some, tmp_path / "study")
    assert (
        "the mean of **slow, one machine** (in steps per child) and **fast, one machine** (in seconds) is."
        in (tmp_path / "study/report.md").read_text()
    )


def test_steps_per_child(tmp_path: Path) -> None:
    _, fast = compare_cells(rows(tmp_path, TWO), "score").cells
    assert fast.costs["steps"].estimate.value == 1500.0
    assert fast.costs["steps per child"].estimate.value == 750.0
    assert fast.curves["steps per child"].x[-1] == 1000.0
    assert fast.curves["steps"].x[-1] == 2000.0


def test_a_curve_is_the_mean_over_runs_and_keeps_what_a_run_ended_with(tmp_path: Path) -> None:
    _, fast = compare_cells(rows(tmp_path), "score").cells
    line = fast.curves["steps"]
    # Returns are a tenth of the steps; one run ends at 1,000.
    expected = (np.minimum(line.x, 1000) + line.x) / 20
    assert (line.x[0], line.x[-1]) == (500.0, 2000.0)
    assert line.band.value == pytest.approx(expected)
    assert line.band.low[-1] == pytest.approx(100.0)
    assert line.band.high[-1] == pytest.approx(200.0)


def test_few_unsolved_runs_do_not_move_the_mean(tmp_path: Path) -> None:
    """One of four is in the quarter that is left out."""
    text = SMALL.replace("[1, 2]", "[1, 2, 3, 4]")
    scores = [10.0, 480.0, 20.0, 480.0, 30.0, 480.0, 40.0, 9.0]
    _, fast = compare_cells(rows(tmp_path, text, scores), "score").cells
    assert (fast.solved, fast.costs["steps"].bound) == (3, "")
    assert fast.costs["steps"].estimate.value == 2500.0  # 1000, [2000, 3000], 3000


def test_an_unsolved_run_that_ended_early_makes_a_bound(tmp_path: Path) -> None:
    """It is not in the quarter that is left out, where what it would have taken made no difference."""
    runs = [run for run in planned(tmp_path, SMALL.replace("[1, 2]", "[1, 2, 3, 4]")) if run.cell.label == "fast"]
    for run, steps in zip(runs, [1000, 2000, 2500, 3000], strict=True):
        finish(run, reason="minutes" if steps == 2500 else "solved", steps=steps, rate=steps / 5)
    (fast,) = compare_cells([read_row(run) for run in runs], "steps").cells
    assert (fast.costs["steps"].bound, fast.costs["steps"].estimate.value) == ("≥", 2250.0)
    assert fast.costs["seconds"].bound == ""  # they took the same time


def test_a_report(tmp_path: Path) -> None:
    some = rows(tmp_path)
    write_report(read_study(tmp_path / "small.toml"), some, tmp_path / "study")
    text = (tmp_path / "study/report.md").read_text()
    assert "2 seeds: 1, 2. Of 4 runs, 4 ended, 0 unfinished, 0 not begun." in text
    assert "one of **slow** by final score" in text
    assert "| slow | 2 of 2 | 20.0 (10.0 to 30.0) | – |" in text
    assert "| fast | 2 of 2 | 485.0 (480.0 to 490.0) | 1.00 (1.00 to 1.00) |" in text
    assert "| slow | 0 of 2 | ≥ 3,000 (3,000 to 3,000) |" in text
    assert (
        "| fast | 2 of 2 | 1,500 (1,000 to 2,000) | 1,500 (1,000 to 2,000) | 1.50 (1.00 to 2.00) | "
        "≥ 2.00 (1.50 to 3.00) | ≥ 2.00 (1.50 to 3.00) |"
    ) in text
    assert (tmp_path / "study/report.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "study/runs.csv") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 4
    assert table[1]["run"] == "runs/fast/children-0/seed-1/CartPole-v1-20260101-120000"
    assert (table[1]["state"], table[1]["score"], table[1]["solved"]) == ("finished", "480.0", "True")


@pytest.mark.parametrize("scores", [(None,) * 4, (None, 480.0, None, None)])
def test_a_report_of_what_is_there(tmp_path: Path, scores: Sequence[float | None]) -> None:
    (tmp_path / "study").mkdir()
    some = rows(tmp_path, scores=scores)
    write_report(read_study(tmp_path / "small.toml"), some, tmp_path / "study")
    text = (tmp_path / "study/report.md").read_text()
    assert f"Of 4 runs, {sum(score is not None for score in scores)} ended" in text
    assert "nan" not in text
    assert (tmp_path / "study/report.png").is_file()


@pytest.mark.usefixtures("unseen")
def test_a_report_says_what_does_not_compare(tmp_path: Path) -> None:
    runs = planned(tmp_path)
    for run in runs:
        finish(run, score=None, cores=run.seed)
    write_report(read_study(tmp_path / "small.toml"), [read_row(run) for run in runs], tmp_path / "study")
    text = (tmp_path / "study/report.md").read_text()
    assert "Runs could use 1 or 2 cores: their seconds do not compare." in text
    assert "Without a final evaluation: 4 runs, whose score is the mean return at the end of training." in text


def test_a_report_by_another_metric(tmp_path: Path) -> None:
    some = rows(tmp_path, f"metric = 'seconds'\n{SMALL}")
    write_report(read_study(tmp_path / "small.toml"), some, tmp_path / "study")
    text = (tmp_path / "study/report.md").read_text()
    assert "one of **slow** by seconds until solved" in text
    assert "The share of runs solved in fewer seconds than each value" in text
    assert (tmp_path / "study/report.png").is_file()


@pytest.mark.usefixtures("unseen")
def test_steps_are_whole(tmp_path: Path) -> None:
    some = rows(tmp_path, f"metric = 'steps'\n{SMALL}")
    write_report(read_study(tmp_path / "small.toml"), some, tmp_path / "study")
    assert "| cell | 522 | 1,045 | 1,583 | 2,105 | 2,628 |" in (tmp_path / "study/report.md").read_text()


@pytest.mark.usefixtures("unseen")
def test_a_study_of_one_run(tmp_path: Path) -> None:
    text = 'base = "CartPole-v1"\nseeds = [1]\n[settings]\nstop.steps = 3000\n'
    write_report(read_study(written(tmp_path, text)), rows(tmp_path, text, [7.0]), tmp_path / "study")
    text = (tmp_path / "study/report.md").read_text()
    assert "1 seed: 1. Of 1 run, 1 ended, 0 unfinished, 0 not begun." in text
    assert "| base | 1 of 1 | 7.00 | – |" in text
    assert "nan" not in text


def test_an_environment_without_a_threshold(tmp_path: Path) -> None:
    written(tmp_path)
    text = (
        'base = "Pendulum-v1"\nseeds = [1]\n[settings]\nstop.steps = 3000\nenvironment.solved_return = {none = true}\n'
    )
    runs = planned(tmp_path, text)
    finish(runs[0])
    write_report(read_study(tmp_path / "small.toml"), [read_row(run) for run in runs], tmp_path / "study")
    assert "Until solved" not in (tmp_path / "study/report.md").read_text()


@needs_clock
def test_a_study_in_virtual_time_says_so(tmp_path: Path) -> None:
    text = SMALL.replace("stop.steps = 3000", "stop.steps = 3000\nclock.virtual = true")
    study = read_study(written(tmp_path, f"metric = 'seconds'\n{text}"))
    some = rows(tmp_path, f"metric = 'seconds'\n{text}")
    fast = compare_cells(some, "seconds").cells[1]
    assert fast.costs["seconds"].estimate.value == 1.5 / VIRTUALLY
    write_report(study, some, tmp_path)
    report = (tmp_path / "report.md").read_text()
    assert "by virtual seconds until solved." in report
    assert "| virtual seconds |" in report
    assert "| speed-up in virtual seconds |" in report
    with open(tmp_path / "runs.csv", newline="") as file:
        assert [row["virtual_seconds"] for row in csv.DictReader(file)][1] == str(1.0 / VIRTUALLY)
