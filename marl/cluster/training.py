"""What every run has in common, on one machine or on many: watch, judge, save, show, stop."""

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from marl.cluster.evaluator import Evaluator, Verdict
from marl.cluster.keeper import CHECKPOINT, Keeper
from marl.cluster.snapshot import Snapshot
from marl.config.settings import Config
from marl.data.spaces import Spaces
from marl.processes.group import ProcessGroup
from marl.reports.children import ChildRow
from marl.reports.meter import Meter, Status, StopGoal
from marl.reports.run_folder import RunFolder
from marl.reports.tensorboard import TensorBoardWriter
from marl.training.checkpoint import BackgroundWriter
from marl.training.weights_file import WeightsFile

TICK = 0.02  # seconds between two looks at what is going on
SHOW_EVERY = 0.2


class View(Protocol):
    """Where progress is shown."""

    def show(self, status: Status, children: Sequence[ChildRow] = ()) -> None:
        """The newest numbers, and a row for each child."""

    def note(self, text: str) -> None:
        """Something that happened."""


class Counts(NamedTuple):
    """What is counted while training, since this start."""

    steps: npt.NDArray[np.int64]  # [M] environment steps of each worker, or of each child
    updates: npt.NDArray[np.int64]  # [M]
    metrics: dict[str, float]
    restarts: int


class Outcome(NamedTuple):
    """How a run ended."""

    reason: str  # "solved", "steps", "minutes", "episodes", "stopped"
    status: Status
    steps: int  # played in this run, without those of runs it resumes
    best: Verdict | None
    last: Snapshot
    first_update_at: float | None  # time.time() of the first optimizer step
    solved_at: float | None  # time.time() when training's mean return first reached the threshold and stayed confirmed
    training_seconds: float  # of this process, without those of runs it resumes
    shares: npt.NDArray[np.float64]  # [M, 3] seconds of each worker: acting, of these inside the environment, learning


class Training(ABC):
    """One run; ``run`` does it all. Subclasses say where the steps are played."""

    def __init__(
        self,
        config: Config,
        spaces: Spaces,
        folder: RunFolder,
        view: View,
        *,
        initial: WeightsFile | None = None,
        resumed: WeightsFile | None = None,
    ) -> None:
        self._config, self._folder, self._view = config, folder, view
        self._spaces = spaces
        self._initial, self._resumed = initial, resumed
        self._goal = StopGoal(
            steps=config.stop.steps,
            seconds=None if config.stop.minutes is None else 60 * config.stop.minutes,
            episodes=config.stop.episodes,
            solved_return=config.environment.solved_return if config.stop.solved else None,
        )
        self._meter = Meter(goal=self._goal)
        self._base_seconds = 0.0
        self._base_steps = 0
        self._solved = False
        self._solved_at: float | None = None
        self._tensorboard: TensorBoardWriter | None = None
        self._told_cut = False

    def run(self, stopped: threading.Event) -> Outcome:
        """Train until a stop condition holds or ``stopped`` is set.

        Raises:
            MarlError: it cannot go on. What was learned is saved first.
        """
        with ProcessGroup() as group:
            self._group = group
            self._evaluator = Evaluator(self._config, group)
            self._writer = BackgroundWriter(self._view.note)
            self.keeper = Keeper(self._config, self._spaces, self._folder, self._writer)
            try:
                self._open()
                if self._resumed is not None:
                    self._restore(self._resumed)
                self._base_steps = self._steps()
                self._started = time.monotonic()
                try:
                    self._start()
                    self._folder.write_facts({"seed": self._config.seed, **self._facts()})
                    reason = self._watch(stopped)
                    self._stop()
                    if reason in ("steps", "minutes", "episodes"):
                        self._judge_last(stopped)
                finally:
                    self._stop()
                    self._finish()
                return self._outcome(reason)
            finally:
                self._writer.close()
                self._close()

    @abstractmethod
    def _open(self) -> None:
        """Make what the run needs, with initial or resumed weights in place."""

    @abstractmethod
    def _start(self) -> None:
        """Begin to play."""

    @abstractmethod
    def _stop(self) -> None:
        """Play no more; may be called twice."""

    @abstractmethod
    def _tend(self, stopped: threading.Event) -> str | None:
        """Look after what is going on, hand episodes to the meter, judge; a reason if the run is to end now."""

    @abstractmethod
    def _steps(self) -> int:
        """Environment steps that count towards ``stop.steps``, those of resumed runs included."""

    @abstractmethod
    def _counts(self) -> Counts:
        """The newest numbers."""

    @abstractmethod
    def _snapshot(self) -> Snapshot:
        """A copy of what is learned."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """For the run folder."""

    def never_began(self) -> bool:
        """Whether nothing was played at all."""
        return False

    def _interrupted(self) -> None:  # noqa: B027  most runs have nothing to do
        """The user wants the run to end."""

    def _close(self) -> None:  # noqa: B027  not every run has something to free
        """Free what ``_open`` made."""

    def _saved(self) -> dict[str, Any]:
        """What a checkpoint holds beside the snapshot's tensors."""
        return {}

    def _first_update_at(self) -> float | None:
        return None

    def _shares(self) -> npt.NDArray[np.float64]:
        return np.zeros((0, 3))

    def _restore(self, resumed: WeightsFile) -> None:
        """Go on counting where the run that is resumed stopped."""
        self._meter.restore(resumed.info["meter"])
        self._base_seconds = float(resumed.info["seconds"])
        if resumed.info.get("best_mean") is not None:
            self.keeper.best_mean = float(resumed.info["best_mean"])

    def _seconds(self) -> float:
        """Of training, over all resumes."""
        return self._base_seconds + time.monotonic() - self._started

    def _watch(self, stopped: threading.Event) -> str:
        now = time.monotonic()
        due = {"show": now, "metrics": now + self._config.report.every_seconds}
        self._judge_at = now + self._config.evaluation.every_seconds
        self._checkpoint_at = now + self._config.checkpoint.every_seconds
        while True:
            self._group.wait(TICK)
            if stopped.is_set():  # before any look at the workers: a signal to the whole group ends them as well
                self._interrupted()
                return "stopped"
            reason = self._tend(stopped)
            if reason:
                return reason
            now = time.monotonic()
            if now >= due["show"]:
                due["show"] = now + SHOW_EVERY
                self._show()
            if now >= due["metrics"]:
                due["metrics"] = now + self._config.report.every_seconds
                self._record()

    def _reason(self) -> str | None:
        """Why training should end now, if it should."""
        goal = self._goal
        if self._solved or (not self._config.evaluation.episodes and self._meter.solved()):
            return "solved"
        if goal.steps is not None and self._steps() >= goal.steps:
            return "steps"
        if goal.seconds is not None and self._seconds() >= goal.seconds:
            return "minutes"
        if goal.episodes is not None and self._meter.episodes >= goal.episodes:
            return "episodes"
        return None

    def _judge(self) -> bool:
        """Keep the evaluator busy with what may be the best weights so far; whether it was given new ones."""
        self._weigh(self._evaluator.verdict())
        if self._evaluator.busy or self._solved or not self._config.evaluation.episodes:
            return False
        now = time.monotonic()
        if not self._meter.solved():
            self._solved_at = None
        elif self._solved_at is None:
            self._solved_at = time.time()
        if not self._solved_at and (now < self._judge_at or not self._meter.episodes):
            return False
        self._judge_at = now + self._config.evaluation.every_seconds
        self._evaluator.submit(self._snapshot())
        return True

    def _weigh(self, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        if verdict.cut and not self._told_cut:
            self._told_cut = True
            count = self._config.evaluation.episodes
            self._view.note(f"{verdict.cut} of {count} evaluation episodes did not end by themselves and were cut")
        threshold = self._goal.solved_return
        self._solved = threshold is not None and verdict.mean >= threshold and self._meter.solved()
        self.keeper.weigh(verdict, keep_anyway=self._solved)

    def _judge_now(self, snapshot: Snapshot, stopped: threading.Event) -> None:
        """Wait for a verdict on this snapshot, however often the judge is killed over it; a signal ends the wait."""
        verdict = None
        while verdict is None and not stopped.is_set():
            if not self._evaluator.busy:
                self._evaluator.submit(snapshot)
            verdict = self._evaluator.verdict(TICK)
            self._check_judge()
        self._weigh(verdict)

    def _check_judge(self) -> None:
        """Whether the judge has died: it is then started again with the next weights."""
        self._group.check(Evaluator.NAME)

    def _judge_last(self, stopped: threading.Event) -> None:
        """The last weights may be the best; Ctrl-C does without."""
        if not self._config.evaluation.episodes:
            return
        if self._config.deterministic:
            self._judge_now(self._snapshot(), stopped)
            return
        self._await_verdict(stopped)
        if not stopped.is_set() and self._meter.episodes:
            self._evaluator.submit(self._snapshot())
            self._await_verdict(stopped)

    def _await_verdict(self, stopped: threading.Event) -> None:
        while self._evaluator.busy and not stopped.is_set():
            self._group.wait(TICK)
            self._weigh(self._evaluator.verdict())
            self._group.check()

    def _status(self) -> Status:
        counts = self._counts()
        return self._meter.update(
            time.monotonic() - self._started, counts.steps, counts.updates, counts.metrics, counts.restarts
        )

    def _show(self) -> None:
        self._view.show(self._status())

    def _record(self) -> None:
        status = self._status()
        warning = self._folder.append_metrics(status)
        if warning:
            self._view.note(warning)
        if self._tensorboard is None and self._config.report.tensorboard:
            self._tensorboard = TensorBoardWriter(self._folder.tensorboard, purge_steps=self._base_steps or None)
        if self._tensorboard is not None:
            self._tensorboard.write(status)

    def _checkpoint_if_due(self) -> None:
        now = time.monotonic()
        if now >= self._checkpoint_at:
            self._checkpoint_at = now + self._config.checkpoint.every_seconds
            self._save(self._snapshot())

    def _save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint in the background."""
        self._status()
        info = {"meter": self._meter.state(), "seconds": self._seconds(), **self._saved()}
        self.keeper.checkpoint(snapshot, info)

    def _finish(self) -> None:
        """Whatever happened, what was learned reaches the disk."""
        with contextlib.suppress(Exception):
            self._collect_episodes()
        self._save_last()
        self._final_snapshot = self._snapshot()
        self._writer.close()  # before anything is shown: standard output may be closed
        self._show()
        self._record()
        if self._tensorboard is not None:
            self._tensorboard.close()

    @abstractmethod
    def _collect_episodes(self) -> None:
        """Hand the last episodes to the meter."""

    def _save_last(self) -> None:
        self._save(self._snapshot())

    def _outcome(self, reason: str) -> Outcome:
        return Outcome(
            reason=reason,
            status=self._status(),
            steps=int(self._counts().steps.sum()),
            best=self.keeper.best,
            last=self._final_snapshot,
            first_update_at=self._first_update_at(),
            solved_at=self._solved_at if reason == "solved" else None,
            training_seconds=self._seconds() - self._base_seconds,
            shares=self._shares(),
        )

    def _log(self, trace: str) -> None:
        with (
            contextlib.suppress(OSError),
            (self._folder.path / "errors.log").open("a", encoding="utf-8") as file,
        ):
            file.write(trace + "\n")


def latest_checkpoint(folder: RunFolder) -> Path:
    """Where a run keeps what it needs to go on."""
    return folder.path / CHECKPOINT
