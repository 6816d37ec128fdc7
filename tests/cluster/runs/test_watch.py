"""When a run ends, evaluates and saves. Solved takes two: training, and the weights themselves over fresh episodes."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marl.cluster.planning.model import Reference
from marl.cluster.runs.evaluation import patience
from marl.config.files import load_config
from tests.cluster.runs.watching import BAD, GOOD, Watched

DETERMINISTIC = {"deterministic": True, "exchange.every": "1000 steps", "stop.steps": 1_000_000}


@pytest.mark.parametrize("settings", [{}, DETERMINISTIC], ids=["free", "deterministic"])
def test_both_halves_are_needed(settings: dict[str, Any], tmp_path: Path) -> None:
    run = Watched(tmp_path, **settings)
    run.play(GOOD)
    for version in range(1, 4):
        assert run.merge(BAD) is None
        assert run.plays.evaluated == [BAD] * version
    run.play(BAD)
    assert run.merge(GOOD) is None  # the weights would do, what the children play with them does not
    assert not any(run.kept)
    run.play(GOOD)
    assert run.merge(GOOD) == "solved"
    assert run.kept[-1]  # these are the weights of the run, even if others once earned more
    assert run.trainer.went_on == ([1, 2, 3, 4] if settings else [])


def test_a_hundred_episodes_of_training_are_needed(tmp_path: Path) -> None:
    run = Watched(tmp_path)
    run.play(GOOD, 99)
    assert run.merge(GOOD) is None
    assert run.plays.evaluated == []
    run.play(GOOD, 1)
    assert run.merge(GOOD) == "solved"


def test_a_score_comes_too_late_where_training_has_become_worse(tmp_path: Path) -> None:
    run = Watched(tmp_path)
    run.play(GOOD)
    run.trainer.merge(GOOD)
    assert run.look() is None
    assert run.plays.busy
    run.play(BAD)
    assert run.merge(GOOD) is None


def test_without_episodes_of_evaluation_training_decides(tmp_path: Path) -> None:
    run = Watched(tmp_path, **{"evaluation.episodes": 0})
    run.play(GOOD)
    assert run.merge(BAD) == "solved"
    assert run.plays.evaluated == []


def test_the_weights_are_evaluated_by_twenty_episodes() -> None:
    assert load_config("CartPole-v1").evaluation.episodes == 20


def test_each_version_is_saved_once(tmp_path: Path) -> None:
    run = Watched(tmp_path)
    assert [run.merge(earns) for earns in (1.0, 2.0)] == [None, None]
    assert run.trainer.saves == [1.0, 2.0]


def test_children_are_let_go_on_when_their_round_is_saved(tmp_path: Path) -> None:
    run = Watched(tmp_path, **DETERMINISTIC, **{"evaluation.episodes": 0})
    run.trainer.merge(1.0)
    assert run.look() is None
    assert (run.trainer.saves, run.trainer.went_on) == ([1.0], [1])
    assert run.look() is None  # nobody waits
    assert (run.trainer.saves, run.trainer.went_on) == ([1.0], [1])


def test_who_stops_a_deterministic_run_in_an_evaluation_gets_no_checkpoint_without_it(tmp_path: Path) -> None:
    run = Watched(tmp_path, **DETERMINISTIC)
    run.play(GOOD)
    run.trainer.merge(GOOD)
    run.stopped.set()
    assert run.look() == "stopped"
    assert (run.trainer.saves, run.trainer.went_on, run.trainer.last_rounds) == ([], [], 1)


@pytest.mark.parametrize(("settings", "rounds"), [({"stop.steps": 100}, 1), ({}, 0)], ids=["steps", "solved"])
def test_what_is_under_way_counts_where_the_weights_may_still_change(
    settings: dict[str, Any], rounds: int, tmp_path: Path
) -> None:
    """Those that solved it are the run's."""
    run = Watched(tmp_path, **settings)
    run.play(GOOD if not settings else BAD)
    assert run.merge(GOOD) == ("steps" if settings else "solved")
    assert run.trainer.last_rounds == rounds
    assert run.trainer.waits == [run.stopped] * rounds  # who stops the run does not wait for the first update


def test_the_meter_goes_back_with_the_workers(tmp_path: Path) -> None:
    """A deterministic worker that died begins its checkpoint interval again: what it had played is played again."""
    run = Watched(tmp_path, **DETERMINISTIC, **{"evaluation.episodes": 0})
    run.play(BAD, 3)
    run.merge(BAD)
    assert run.run._meter.episodes == 3
    run.play(BAD, 2)
    run.look()
    run.trainer.tend = lambda: True  # type: ignore[method-assign]
    run.look()
    assert run.run._meter.episodes == 3


def test_a_run_that_cannot_begin_saves_and_says_why(tmp_path: Path) -> None:
    run = Watched(tmp_path)
    run.trainer.stop = lambda: None  # type: ignore[method-assign]
    with pytest.raises(NotImplementedError, match="no children"):
        run.run.train(run.stopped)
    assert run.trainer.saves == [BAD]


def test_a_resumed_run_goes_on_counting_its_time(tmp_path: Path) -> None:
    """A schedule by time goes on where it was, as the time that ends the run does."""
    run = Watched(tmp_path)
    before: Any = SimpleNamespace(info={"meter": run.run._meter.state(), "seconds": 90.0})
    run.run.restore(before)
    run.trainer.stop = lambda: None  # type: ignore[method-assign]
    first = time.monotonic()
    with pytest.raises(NotImplementedError, match="no children"):
        run.run.train(run.stopped)
    assert first - 90.0 <= run.trainer.began <= time.monotonic() - 90.0


def test_a_resumed_run_compares_with_what_it_was_compared_with(tmp_path: Path) -> None:
    """Nobody measures again."""
    saved: list[dict[str, Any]] = []
    run = Watched(tmp_path)
    run.run.checkpoints.checkpoint = lambda unused, info, then: saved.append(info)  # type: ignore[method-assign]
    run.run._reference = Reference(300.0, 0.9)
    run.run._save_now()
    resumed = Watched(tmp_path)
    before: Any = SimpleNamespace(info=saved[0])
    resumed.run.restore(before)
    resumed.run._begin()
    assert resumed.run._reporter._reference == Reference(300.0, 0.9)


def test_a_resumed_run_is_evaluated_as_long_as_all_its_training_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that only lacks its final evaluation has trained for no time since."""
    run = Watched(tmp_path)
    before: Any = SimpleNamespace(info={"meter": run.run._meter.state(), "seconds": 90.0})
    run.run.restore(before)
    run.trainer.start = lambda *unused: None  # type: ignore[method-assign]
    run.trainer.stop = lambda: None  # type: ignore[method-assign]
    allowed: list[float] = []

    def watch(unused: object) -> str:
        run.run._ended = time.monotonic()
        return "stopped"

    def final(unused_snapshot: object, unused_stopped: object, deadline: float) -> None:
        allowed.append(deadline - run.run._ended_at())
        raise NotImplementedError

    monkeypatch.setattr(run.run, "_watch", watch)
    monkeypatch.setattr(run.run._evaluation, "final", final)
    with pytest.raises(NotImplementedError):
        run.run.train(run.stopped)
    assert allowed == [pytest.approx(patience(run.run._seconds()))]
    assert run.run._seconds() >= 90.0


def test_another_process_that_leads_the_run_has_its_files_for_itself(tmp_path: Path) -> None:
    run = Watched(tmp_path)
    run.trainer.leads = lambda: False  # type: ignore[method-assign]
    run.merge(1.0)
    run.run._record()
    assert run.trainer.saves == []
    assert list(tmp_path.iterdir()) == []
