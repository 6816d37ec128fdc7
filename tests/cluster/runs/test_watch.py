"""When a run ends, evaluates and saves. Solved takes two: training, and the weights themselves over fresh episodes."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from marl.acting.evaluate import Played
from marl.cluster.find_spaces import find_spaces
from marl.cluster.runs.evaluation import Evaluation
from marl.cluster.runs.evaluator import Score, score_of
from marl.cluster.runs.watch import Run
from marl.cluster.snapshot import Snapshot
from marl.cluster.trainers.trainer import Counts, Episodes, Trainer
from marl.config.files import load_config
from marl.reports.meter import Meter, StopGoal
from marl.reports.run_folder import RunFolder

GOOD, BAD = 200.0, 50.0
THRESHOLD = 100.0


class Plays:
    """Has a score at once: what the weights earn is written in them."""

    def __init__(self) -> None:
        self.evaluated: list[float] = []
        self._under_way: Snapshot | None = None

    @property
    def busy(self) -> bool:
        return self._under_way is not None

    def submit(self, snapshot: Snapshot, *, max_steps: int | None = None, limit: int | None = None) -> None:
        assert max_steps is None
        assert not self.busy
        self._under_way = snapshot

    def played(self, unused_seconds: float = 0.0) -> Played | None:
        snapshot, self._under_way = self._under_way, None
        if snapshot is None:
            return None
        self.evaluated.append(float(snapshot.tensors["weights"]))
        return Played(np.full(20, self.evaluated[-1]), 0)

    def score(self, unused_seconds: float = 0.0) -> Score | None:
        snapshot, played = self._under_way, self.played()
        return None if snapshot is None or played is None else score_of(snapshot, played)


class Weights(Trainer):
    """Versions of weights, episodes and checkpoints that are numbers of the test."""

    def __init__(self, *, deterministic: bool) -> None:
        self._number, self.weights = 0, BAD
        self._told = 0
        self._versions = deterministic
        self.went_on: list[int] = []
        self.saves: list[float] = []
        self.ended: list[float] = []
        self.last_rounds = 0
        self.waits: list[threading.Event] = []
        self.resumes = True

    def merge(self, earns: float) -> None:
        self._number, self.weights = self._number + 1, earns

    def start(self, save: Callable[[], None], began: float) -> None:
        self.began = began
        raise NotImplementedError("no children")

    def stop(self) -> None:
        raise NotImplementedError

    def tend(self) -> bool:
        return False

    def steps(self) -> int:
        return 100 * self._number

    def counts(self) -> Counts:
        return Counts(np.zeros(1, np.int64), np.zeros(1, np.int64), {}, 0)

    def episodes(self) -> Episodes:
        returns, self.ended = np.array(self.ended), []
        return returns, np.ones(len(returns), np.int64)

    def snapshot(self) -> Snapshot:
        return Snapshot({"weights": torch.tensor(self.weights)}, 0, 0)

    def info(self) -> dict[str, Any]:
        return {"version": self._number}

    def facts(self) -> dict[str, Any]:
        return {}

    @property
    def version(self) -> int | None:
        return self._number

    def pause(self) -> int | None:
        new, self._told = self._number != self._told, self._number
        return self._number if new else None

    def proceed(self, *, go_on: bool) -> None:
        if go_on:
            self.went_on.append(self._number)

    def await_first_update(self, stopped: threading.Event) -> None:
        self.waits.append(stopped)

    def last_round(self) -> None:
        self.last_rounds += 1

    def saved(self, snapshot: Snapshot) -> None:
        self.saves.append(float(snapshot.tensors["weights"]))


class Watched:
    """A run whose trainer, evaluator and files are the test's."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        config = load_config("CartPole-v1", {"environment.solved_return": THRESHOLD, "seed": 1, **settings})
        goal = StopGoal(steps=config.stop.steps, solved_return=THRESHOLD)
        meter = Meter(goal=goal)
        self.kept: list[bool] = []
        self.trainer = Weights(deterministic=config.deterministic)
        checkpoints: Any = SimpleNamespace(
            keep_if_best=lambda score, keep_anyway: self.kept.append(keep_anyway), checkpoint=lambda *unused: None
        )
        group: Any = SimpleNamespace(check=lambda name: [], members=["evaluator"])
        events: Any = SimpleNamespace(on=lambda event: None, follow=lambda clock: None)
        evaluation = Evaluation(config, find_spaces(config), group, checkpoints, meter, note=print, log=print)
        self.plays = evaluation.evaluator = Plays()  # type: ignore[assignment]
        writer: Any = SimpleNamespace(write=lambda *unused: None, close=lambda: None)
        files = RunFolder(folder)
        self.run = Run(
            config, self.trainer, evaluation, checkpoints, meter, goal, files, events, group=group, writer=writer
        )
        self.run._begin()
        self.stopped = threading.Event()

    def play(self, earned: float, episodes: int = 100) -> None:
        """So many episodes have ended, and are counted."""
        self.trainer.ended = [earned] * episodes
        self.run._reporter.collect_episodes()

    def look(self) -> str | None:
        return self.run._look(self.stopped)

    def merge(self, earns: float) -> str | None:
        """A round has made new weights; why the run ends with them, after as many looks as a score takes."""
        self.trainer.merge(earns)
        return next((reason for _ in range(4) if (reason := self.look())), None)


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


def test_another_process_that_leads_the_run_has_its_files_for_itself(tmp_path: Path) -> None:
    run = Watched(tmp_path)
    run.trainer.leads = lambda: False  # type: ignore[method-assign]
    run.merge(1.0)
    run.run._record()
    assert run.trainer.saves == []
    assert list(tmp_path.iterdir()) == []
