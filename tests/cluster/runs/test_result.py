"""What a run leaves at its end, and what it says where that is less than was wanted."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marl.cluster.runs.checkpoint_manager import BEST, CHECKPOINT
from marl.cluster.runs.evaluation import Final
from marl.cluster.runs.result import Kept, end_facts, fields, finished, keep_weights
from marl.config.files import load_config
from marl.errors import RunFolderError
from marl.reports.run_folder import RunFolder
from marl.training.saved.weights_file import WeightsFile


def outcome(**other: Any) -> Any:
    numbers = {"seconds": 1.0, "virtual_seconds": None, "steps": 200, "episodes": 3, "updates": 0}
    status = SimpleNamespace(**numbers, return_mean=None, window_filled=0)
    everything = {
        "reason": "steps", "status": status, "steps": 200, "evaluation": SimpleNamespace(summary=None, lacking="x"),
        "last": None, "learned": True, "first_update_at": None, "solved_at": None, "ended_at": 5.0,
        "training_seconds": 1.0, "shares": [],
    }  # fmt: skip
    return SimpleNamespace(**{**everything, **other})


def told(tmp_path: Path, settings: dict[str, Any] | None = None, *, stopped_by: int | None = None, **other: Any) -> Any:
    config = load_config("CartPole-v1", settings or {})
    kept = Kept(tmp_path / "weights.pt", None)
    return fields(config, outcome(**other), kept, RunFolder(tmp_path), started=1.0, stopped_by=stopped_by)


def test_a_run_that_learned_nothing(tmp_path: Path) -> None:
    assert told(tmp_path)["failure"] is None
    failure = told(tmp_path, learned=False)["failure"]
    assert failure.startswith("nothing was learned: 200 steps and not one update; give the run a later end")
    assert "replay.start" not in failure
    replay = {"algorithm.name": "apex_dqn", "replay.start": 1000}
    assert "(replay.start: the first comes after 1,000 steps)" in told(tmp_path, replay, learned=False)["failure"]
    stopped = told(tmp_path, learned=False, reason="stopped", stopped_by=15)
    assert (stopped["failure"], stopped["signal"]) == (None, 15)


def test_the_run_folder_says_what_the_final_evaluation_lacks() -> None:
    """A study makes it good."""
    end = {"reason": "steps", "steps": 200, "seconds": 1.0}
    assert end_facts(outcome(evaluation=Final(None, "stopped"))) == {"ended": {**end, "lacking": "stopped"}}
    assert end_facts(outcome(evaluation=Final(None, ""))) == {"ended": end}


def test_a_signal_after_the_end_changes_nothing(tmp_path: Path) -> None:
    """The run had reached its end; only its last evaluation or its picture were spared."""
    assert told(tmp_path, stopped_by=2)["signal"] is None


def test_the_clock_of_training_stops_before_the_evaluation(tmp_path: Path) -> None:
    assert told(tmp_path)["training_ended_at"] == 5.0
    assert told(tmp_path, solved_at=4.0)["training_ended_at"] == 4.0


@pytest.mark.parametrize("info", [{}, {"meter": 1}, {"meter": {}, "steps": "many", "seconds": [], "updates": 0}])
def test_a_checkpoint_that_does_not_say_how_far_it_is(info: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text('{"ended": {"reason": "steps"}}')
    config = load_config("CartPole-v1", {"stop.steps": 5})
    with pytest.raises(RunFolderError, match="it is damaged"):
        finished(config, WeightsFile({}, info), RunFolder(tmp_path), new_end=False)


@pytest.mark.parametrize(("best", "name"), [(None, CHECKPOINT), ("some", BEST)])
def test_weights_that_cannot_be_written_are_in_the_run_folder(best: Any, name: str, tmp_path: Path) -> None:
    def refuse(*unused: Any) -> None:
        raise OSError(28, "No space left on device")

    checkpoints: Any = SimpleNamespace(write_weights=refuse, best=best)
    with pytest.raises(RunFolderError, match=r"No space left on device.* free space"):
        keep_weights(checkpoints, outcome(), RunFolder(tmp_path), tmp_path / "weights.pt")
    (tmp_path / name).touch()
    kept = keep_weights(checkpoints, outcome(), RunFolder(tmp_path), tmp_path / "weights.pt")
    assert kept.weights == tmp_path / name
    assert kept.failure is not None
    assert kept.failure.endswith(f"weights.pt: No space left on device; the weights are in {tmp_path / name}")
