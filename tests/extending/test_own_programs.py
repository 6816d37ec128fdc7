"""Programs around runs, from outside the package: a study asks ``train`` again and again, a board reads events."""

import json
from pathlib import Path
from typing import Any

import pytest

from marl.api import TrainResult, train

QUIET = {"node.workers": 1, "report.pictures": False, "report.tensorboard": False, "evaluation.final_episodes": 2}


def study(grid: list[dict[str, Any]], steps: int) -> list[tuple[dict[str, Any], TrainResult]]:
    """One run for each of the settings, best first."""
    fixed = {**QUIET, "stop.steps": steps, "deterministic": True, "seed": 1}
    results = [(each, train("CartPole-v1", settings={**fixed, **each}, live=False)) for each in grid]
    return sorted(results, key=lambda each: -(each[1].evaluation_mean or 0.0))


def board(runs: list[Path]) -> list[tuple[str, int, float | None]]:
    """A row for each run: algorithm, newest steps, mean of its final evaluation; read as another process would."""
    rows = []
    for run in runs:
        events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        began = next(event for event in events if event["event"] == "began")
        finals = [event["mean"] for event in events if event["event"] == "evaluation" and event["final"]]
        rows.append((began["algorithm"], max(event["steps"] for event in events), finals[-1] if finals else None))
    return rows


def test_a_study_and_a_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tried = study([{"algorithm.learning_rate": 1e-12}, {"algorithm.learning_rate": 2e-3}], steps=2000)
    assert {tuple(settings.values()) for settings, _ in tried} == {(1e-12,), (2e-3,)}
    assert tried[0][1].evaluation_mean != tried[1][1].evaluation_mean  # the setting has reached the run
    rows = board([result.run for _, result in tried])
    for (name, steps, mean), (_, result) in zip(rows, tried, strict=True):
        assert name == "a3c"
        assert steps == result.steps >= 2000
        assert mean == result.evaluation_mean
