"""What run folders say of runs."""

import json
import math
from pathlib import Path

import pytest

from marl.studies.place import can_resume, end_of, forget_end, latest_run, set_aside
from marl.studies.results import read_row
from tests.studies.files import SMALL, finish, needs_clock, planned

GOES_ON = SMALL.replace("stop.steps = 3000", "stop.steps = 3000\nstop.solved = false\nenvironment.solved_return = 180")


def test_a_run_that_was_solved(tmp_path: Path) -> None:
    run = planned(tmp_path)[0]
    finish(run, reason="solved", score=480.0, steps=2500)
    row = read_row(run)
    assert row.state == "finished"
    assert row.result is not None
    assert row.result[:9] == (480.0, True, "solved", True, 2500, 2.5, 2500.0, 2.5, 2)
    assert row.result.curve.steps.tolist() == [500, 1000, 1500, 2000, 2500]


def test_a_run_that_was_not_solved_is_censored_at_its_end(tmp_path: Path) -> None:
    run = planned(tmp_path)[0]
    finish(run, score=None)
    result = read_row(run).result
    assert result is not None
    assert (result.solved, result.solved_steps, result.solved_seconds) == (False, 3000.0, 3.0)
    assert (result.score, result.evaluated) == (300.0, False)  # of the last episodes of training


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(120, (True, 2000.0, 2.0)), (250, (True, 2500.0, 2.5)), (400, (False, 3000.0, 3.0))],
)
def test_a_run_that_went_on_was_solved_where_its_curve_was(
    tmp_path: Path, threshold: int, expected: tuple[bool, float, float]
) -> None:
    """Not before a hundred episodes had ended."""
    run = planned(tmp_path, GOES_ON.replace("180", str(threshold)))[0]
    finish(run)
    result = read_row(run).result
    assert result is not None
    assert (result.solved, result.solved_steps, result.solved_seconds) == expected


VIRTUAL = "stop.steps = 3000\nclock.virtual = true"


@needs_clock
def test_what_solving_took_and_the_curve_are_in_virtual_time(tmp_path: Path) -> None:
    run = planned(tmp_path, SMALL.replace("stop.steps = 3000", VIRTUAL))[0]
    finish(run, reason="solved", steps=2500)
    result = read_row(run).result
    assert result is not None
    assert (result.seconds, result.virtual_seconds, result.solved_seconds) == (2.5, 0.625, 0.625)
    # Metrics have a line every 1,000 steps, the curve one every 500.
    assert result.curve.seconds.tolist() == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])
    assert result.curve.steps.tolist() == [500, 1000, 1500, 2000, 2500]


@needs_clock
def test_a_run_that_went_on_was_solved_at_a_virtual_time(tmp_path: Path) -> None:
    run = planned(tmp_path, GOES_ON.replace("stop.steps = 3000", VIRTUAL))[0]
    finish(run)
    result = read_row(run).result
    assert result is not None
    assert (result.solved, result.solved_steps, result.solved_seconds) == (True, 2000.0, 0.5)


def test_runs_that_have_not_ended(tmp_path: Path) -> None:
    run = planned(tmp_path)[0]
    assert read_row(run).state == "missing"
    folder = finish(run, reason="stopped")
    assert read_row(run) == (run, folder, None)
    (folder / "facts.json").unlink()  # it was killed
    assert read_row(run).state == "unfinished"


def test_which_of_several_folders_counts(tmp_path: Path) -> None:
    run = planned(tmp_path)[0]
    old = finish(run)
    new = old.with_name("CartPole-v1-20260102-120000")
    new.mkdir()
    (new / "config.toml").touch()
    latest = latest_run(run.place)
    assert latest is not None
    assert latest.path == old  # it has ended
    (old / "facts.json").write_text(json.dumps({"ended": {"reason": "stopped"}}))
    latest = latest_run(run.place)
    assert latest is not None
    assert latest.path == new
    assert not can_resume(latest)
    set_aside(latest)
    latest = latest_run(run.place)
    assert latest is not None
    assert latest.path == old
    assert (run.place / "abandoned" / new.name / "config.toml").exists()


def test_the_end_of_a_run_that_was_stopped_there_is_forgotten(tmp_path: Path) -> None:
    """Its final evaluation lacks: it goes on from its checkpoint, and makes that."""
    planned_run = planned(tmp_path)[0]
    finish(planned_run)
    run = latest_run(planned_run.place)
    assert run is not None
    forget_end(run)
    assert end_of(run) is None
    assert run.read_facts() == {"hardware": {"usable_cores": 2}}


def test_a_file_may_say_anything(tmp_path: Path) -> None:
    run = planned(tmp_path)[0]
    folder = finish(run)
    (folder / "facts.json").write_text(json.dumps({"ended": {"reason": "steps", "evaluation": 5, "steps": "x"}}))
    (folder / "curve.jsonl").write_text('{"steps": 5, "return_mean": "much"}\nno JSON\n')
    (folder / "metrics.jsonl").unlink()
    result = read_row(run).result
    assert result is not None
    assert math.isnan(result.score)
    assert (result.steps, result.curve.returns.size) == (0, 0)
