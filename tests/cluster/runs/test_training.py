"""Solved on a cluster takes two: the children's training, and the global weights themselves over fresh episodes."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from marl.acting.evaluate import Played
from marl.cluster.find_spaces import find_spaces
from marl.cluster.fleets.cluster_settings import Cluster
from marl.cluster.runs.evaluation import Evaluation
from marl.cluster.runs.evaluator import Verdict, verdict_of
from marl.cluster.snapshot import Snapshot
from marl.cluster.trainers.parent import ParentTraining
from marl.config.files import load_config
from marl.reports.run_folder import RunFolder

GOOD, BAD = 200.0, 50.0
THRESHOLD = 100.0


class Judge:
    """Has a verdict at once: what the weights earn is written in them."""

    def __init__(self) -> None:
        self.judged: list[float] = []
        self._under_way: Snapshot | None = None

    @property
    def busy(self) -> bool:
        return self._under_way is not None

    def submit(self, snapshot: Snapshot, *, max_steps: int | None = None) -> None:
        assert max_steps is None
        assert not self.busy
        self._under_way = snapshot

    def played(self, unused_seconds: float = 0.0) -> Played | None:
        snapshot, self._under_way = self._under_way, None
        if snapshot is None:
            return None
        self.judged.append(float(snapshot.tensors["weights"]))
        return Played(np.full(20, self.judged[-1]), 0)

    def verdict(self, unused_seconds: float = 0.0) -> Verdict | None:
        snapshot, played = self._under_way, self.played()
        return None if snapshot is None or played is None else verdict_of(snapshot, played)


class Run(ParentTraining):
    """A parent whose children, weights and files are numbers of the test."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        config = load_config("CartPole-v1", {"environment.solved_return": THRESHOLD, "seed": 1, **settings})
        spaces = find_spaces(config)
        super().__init__(config, spaces, RunFolder(folder), SimpleNamespace(), Cluster(), None)  # type: ignore[arg-type]
        self.kept: list[bool] = []
        checkpoints: Any = SimpleNamespace(weigh=lambda verdict, keep_anyway: self.kept.append(keep_anyway))
        group: Any = SimpleNamespace(check=lambda name: [], members=["evaluator"])
        self._evaluation = Evaluation(config, spaces, group, checkpoints, self._meter, note=print, log=print)
        self.judge = self._evaluation.evaluator = Judge()  # type: ignore[assignment]
        self.went_on: list[int] = []
        self._audit = None
        self.version, self.weights = 0, BAD

    @property
    def _side(self) -> Any:
        current = SimpleNamespace(version=self.version, steps=100 * self.version)
        return SimpleNamespace(current=current, release=lambda: self.went_on.append(self.version))

    def play(self, earned: float, episodes: int = 100) -> None:
        """The children have finished so many episodes."""
        self._meter.add_episodes(np.full(episodes, earned), np.ones(episodes))

    def merge(self, earns: float) -> str | None:
        """A round has made new weights; why the run ends with them, after as many looks as a verdict takes."""
        self.version, self.weights = self.version + 1, earns
        reasons = [self._tend(threading.Event()) for _ in range(4)]
        return next((reason for reason in reasons if reason), None)

    def _look_around(self) -> None:
        pass

    def _collect_episodes(self) -> None:
        pass

    def _snapshot(self) -> Snapshot:
        return Snapshot({"weights": torch.tensor(self.weights)}, 0, 0)

    def _save(self, snapshot: Snapshot) -> None:
        pass


DETERMINISTIC = {"deterministic": True, "exchange.every": "1000 steps", "stop.steps": 1_000_000}


@pytest.mark.parametrize("settings", [{}, DETERMINISTIC], ids=["free", "deterministic"])
def test_both_halves_are_needed(settings: dict[str, Any], tmp_path: Path) -> None:
    run = Run(tmp_path, **settings)
    run.play(GOOD)
    for version in range(1, 4):
        assert run.merge(BAD) is None
        assert run.judge.judged == [BAD] * version
    run.play(BAD)
    assert run.merge(GOOD) is None  # the weights would do, what the children play with them does not
    assert not any(run.kept)
    run.play(GOOD)
    assert run.merge(GOOD) == "solved"
    assert run.kept[-1]  # these are the weights of the run, even if others once earned more
    assert run.went_on == ([1, 2, 3, 4] if settings else [])


def test_a_hundred_episodes_of_training_are_needed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.play(GOOD, 99)
    assert run.merge(GOOD) is None
    assert run.judge.judged == []
    run.play(GOOD, 1)
    assert run.merge(GOOD) == "solved"


def test_a_verdict_comes_too_late_where_training_has_become_worse(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.play(GOOD)
    run.version, run.weights = 1, GOOD
    assert run._tend(threading.Event()) is None
    assert run.judge.busy
    run.play(BAD)
    assert run.merge(GOOD) is None


def test_without_episodes_of_evaluation_training_decides(tmp_path: Path) -> None:
    run = Run(tmp_path, **{"evaluation.episodes": 0})
    run.play(GOOD)
    assert run.merge(BAD) == "solved"
    assert run.judge.judged == []


def test_the_weights_are_judged_by_twenty_episodes() -> None:
    assert load_config("CartPole-v1").evaluation.episodes == 20
