"""A function that hears a run's events, and ends the run when it has heard enough."""

from pathlib import Path

import pytest

from marl.api import train
from marl.reports.events import Began, Ended, Event, Status

QUIET = {"node.workers": 1, "report.pictures": False, "report.sinks": ["events"], "report.every_seconds": 0.1}


def test_a_callback_ends_the_run_and_everything_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    heard: list[Event] = []

    def enough(event: Event) -> bool:
        heard.append(event)
        return not (isinstance(event, Status) and event.steps > 500)

    result = train(
        "CartPole-v1", settings={**QUIET, "stop.minutes": 5, "stop.solved": False}, callback=enough, live=False
    )
    assert result.reason == "stopped"
    assert result.signal is None
    assert result.steps > 500
    assert result.weights.exists()
    assert (result.run / "checkpoint.pt").exists()
    assert isinstance(heard[0], Began)
    assert isinstance(heard[-1], Ended)


def test_a_callback_that_fails_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {**QUIET, "stop.steps": 500, "evaluation.final_episodes": 1}
    result = train("CartPole-v1", settings=settings, callback=lambda event: 1 / 0, live=False)
    assert result.reason == "steps"
    assert "callback" in (result.run / "events.jsonl").read_text()  # it was said
