"""A run whose trainer, evaluator and files are the test's, to look at one step at a time."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from marl.acting.evaluate import Played
from marl.cluster.find_spaces import find_spaces
from marl.cluster.runs.evaluation import Evaluation
from marl.cluster.runs.evaluator import Score, score_of
from marl.cluster.runs.watch import Run
from marl.cluster.snapshot import Snapshot
from marl.cluster.trainers.trainer import Counts, Episodes, Pause, Trainer
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

    def pause(self) -> Pause | None:
        new, self._told = self._number != self._told, self._number
        return Pause(self._number, self._proceed) if new else None

    def _proceed(self, go_on: bool) -> None:
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
        writer: Any = SimpleNamespace(write=lambda *unused: None, close=lambda: None, flush=lambda: None)
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
