"""One run of a study as a process of its own: it trains."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marl import api
from marl.errors import MarlError
from marl.reports.run_folder import RunFolder
from marl.studies.one_run import Job, finish
from marl.studies.place import end_of, latest_run
from marl.studies.schedule import COMMAND
from tests.commands import PATIENCE_S, until

SHORT = {
    "seed": 3,
    "stop.steps": 2000,
    "node.workers": 1,
    "evaluation.final_episodes": 3,
    "report.tensorboard": False,
    "report.pictures": False,
}
ENDLESS = {**SHORT, "stop.steps": 10**9, "stop.solved": False, "checkpoint.every_seconds": 0.2}


@contextmanager
def started(place: Path, settings: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """The process; it is ended, if it has not ended."""
    job = Job(str(place), str(place / "weights.pt"), "CartPole-v1", settings, 0, True, [], [])
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(job._asdict()) + "\n")
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def ran(place: Path, settings: dict[str, Any]) -> tuple[int, str]:
    """Exit code and standard error of one that comes to its end."""
    with started(place, settings) as process:
        assert process.stderr is not None
        return process.wait(PATIENCE_S), process.stderr.read()


def only_run(place: Path) -> RunFolder:
    (config,) = place.glob("*/config.toml")
    return RunFolder(config.parent)


@pytest.mark.slow
def test_a_run_that_has_ended_is_left_alone(tmp_path: Path) -> None:
    assert ran(tmp_path, SHORT) == (0, "")
    run = only_run(tmp_path)
    end = end_of(run)
    assert end is not None
    assert (end["reason"], end["evaluation"]["episodes"]) == ("steps", 3)
    assert (tmp_path / "weights.pt").is_file()
    before = run.facts.stat().st_mtime_ns
    assert ran(tmp_path, SHORT) == (0, "")
    assert only_run(tmp_path).facts.stat().st_mtime_ns == before


def test_it_saves_and_ends_with_its_study(tmp_path: Path) -> None:
    """And what the end lacks, an evaluation, is not taken for a result."""
    with started(tmp_path, ENDLESS) as process:
        until(lambda: list(tmp_path.glob("*/checkpoint.pt")), of=process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0
    run = only_run(tmp_path)
    assert end_of(run) is None
    assert latest_run(tmp_path) is not None


@pytest.mark.parametrize("ended", [{"reason": "stopped", "steps": 2500}, {"reason": "steps", "lacking": "stopped"}])
def test_a_run_that_was_stopped_at_its_end_or_beyond_is_not_taken_for_one_that_has_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: dict[str, Any]
) -> None:
    """One that a user resumed with a later end and stopped, or whose final evaluation was stopped."""
    run = RunFolder(tmp_path / "CartPole-v1-20260101-120000")
    run.path.mkdir()
    (run.path / "checkpoint.pt").touch()
    run.config.touch()
    run.facts.write_text(json.dumps({"ended": ended}))
    resumed: list[Any] = []

    def train(*unused: Any, resume: Path, **unused_words: Any) -> Any:
        resumed.append((resume, run.read_facts()))
        return SimpleNamespace(failure=None)

    monkeypatch.setattr(api, "train", train)
    finish(Job(str(tmp_path), str(tmp_path / "weights.pt"), "CartPole-v1", SHORT, 1, True, [], []))
    assert resumed == [(run.path, {})]


def test_a_run_that_ended_without_what_it_was_to_leave_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = SimpleNamespace(failure="nothing was learned")
    monkeypatch.setattr(api, "train", lambda *unused, **unused_words: ended)
    with pytest.raises(MarlError, match=r"^nothing was learned$"):
        finish(Job(str(tmp_path), str(tmp_path / "weights.pt"), "CartPole-v1", SHORT, 1, True, [], []))


@pytest.mark.slow
def test_what_cannot_be_trained_is_one_line(tmp_path: Path) -> None:
    code, error = ran(tmp_path, {**SHORT, "node.workers": -1})
    assert code == 1
    assert error.startswith("Error: node.workers: expected 0 (all cores) to 1024")
    assert error.count("\n") == 1
