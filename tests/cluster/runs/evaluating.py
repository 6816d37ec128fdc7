"""An evaluation whose process is a list of answers."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from marl.acting.evaluate import Played
from marl.cluster.find_spaces import find_spaces
from marl.cluster.runs.evaluation import Evaluation
from marl.cluster.runs.evaluator import OWN_SEEDS, Score, score_of
from marl.cluster.snapshot import Snapshot
from marl.config.files import load_config
from marl.processes.group import Failure
from marl.reports.meter import Meter, StopGoal

NEVER = float("inf")
KILLED = Failure("killed by SIGKILL (out of memory?)", "", False)
MISFIT = Failure("another shape", "Traceback ...", True, repeats=True)
BROKEN = Failure("no licence", "Traceback ...", True)
LIMITED = {"stop.steps": 1000}
DETERMINISTIC = {"stop.steps": 1000, "deterministic": True}


class Fake:
    """An evaluator that answers a fixed number of requests, each at once. Each return is the number of the seed set."""

    def __init__(self, answers: float = NEVER) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answers, self.steps, self.cut = answers, 0, 0  # environment steps of each answer, and episodes cut
        self.unanswered: Callable[[], object] = lambda: None  # called when somebody waits for what will not come
        self._under_way: Snapshot | None = None

    @property
    def busy(self) -> bool:
        return self._under_way is not None

    def submit(self, snapshot: Snapshot, **request: Any) -> None:
        assert not self.busy
        self._under_way = snapshot
        self.requests.append({"snapshot": snapshot, "seed_set": OWN_SEEDS, "episodes": 20, **request})

    def forget(self) -> None:
        self._under_way = None

    def played(self, seconds: float = 0.0) -> Played | None:
        if not self.busy or len(self.requests) > self.answers:
            self.unanswered()
            time.sleep(min(seconds, 0.001))
            return None
        self._under_way = None
        request = self.requests[-1]
        return Played(np.full(request["episodes"], float(request["seed_set"])), self.cut, self.steps)

    def score(self, seconds: float = 0.0) -> Score | None:
        snapshot, played = self._under_way, self.played(seconds)
        if played is None or snapshot is None:
            return None
        return score_of(snapshot, played, self.requests[-1]["limit"])


class Setting:
    """An evaluation whose process and files are the test's."""

    def __init__(self, answers: float = NEVER, **settings: Any) -> None:
        self.notes: list[str] = []
        self.traces: list[str] = []
        self.deaths: list[Failure] = []
        config = load_config("CartPole-v1", {"seed": 1, **settings})
        self.weighed: list[Score] = []
        self.checkpoints = SimpleNamespace(
            best=None, keep_if_best=lambda score, keep_anyway: self.weighed.append(score)
        )
        self.meter = Meter(goal=StopGoal(solved_return=100.0))
        self.meter.add_episodes(np.full(100, 200.0), np.full(100, 500))
        self.count(updates=3)
        self.members = ["evaluator"]
        group: Any = SimpleNamespace(check=self._check, members=self.members)
        self.evaluation = Evaluation(
            config,
            find_spaces(config),
            group,
            self.checkpoints,  # type: ignore[arg-type]
            self.meter,
            note=self.notes.append,
            log=self.traces.append,
        )
        self.fake = self.evaluation.evaluator = Fake(answers)  # type: ignore[assignment]
        self.stopped = threading.Event()

    def _check(self, unused_name: str) -> list[tuple[str, Failure]]:
        dies = bool(self.deaths) and self.fake.busy
        self.members[:] = [] if dies else ["evaluator"]  # as if the next request had started it again
        return [("evaluator", self.deaths.pop())] if dies else []

    def count(self, *, updates: int) -> None:
        self.meter.update(1.0, np.array([50_000]), np.array([updates]), {}, 0)

    def offer(self) -> bool:
        return self.evaluation.offer(lambda: weights(1))


def weights(steps: int) -> Snapshot:
    return Snapshot({"weights": torch.zeros(3)}, steps, 0)
