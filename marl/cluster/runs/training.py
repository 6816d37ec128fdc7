"""What every run has in common, on one machine or on many: watch, judge, save, show, stop."""

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.cluster.runs.checkpoint_manager import CHECKPOINT, CheckpointManager, find_seal_key
from marl.cluster.runs.evaluation import TICK, Evaluation, Final, patience
from marl.cluster.snapshot import Snapshot
from marl.config.settings import Config
from marl.data.spaces import Spaces
from marl.errors import WeightsFileError
from marl.processes.group import ProcessGroup
from marl.reports.curve import Curve
from marl.reports.events import Checkpointed, Episodes, Evaluated, Progress, Status
from marl.reports.meter import NO_SPEED, Meter, StopGoal
from marl.reports.pace import Pace, Speed
from marl.reports.run_folder import RunFolder
from marl.reports.stream import Stream
from marl.training.checkpoint import BackgroundWriter
from marl.training.metrics import SKIPPED_UPDATES
from marl.training.weights_file import WeightsFile

SHOW_EVERY = 0.2
LAST_WEIGHTS_SHARE = 0.6  # of the time for evaluation after training: whether the last weights are the best


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
    evaluation: Final  # of the weights that are kept
    last: Snapshot
    learned: bool  # whether there was any update, in this run or in those that it resumes
    first_update_at: float | None  # time.time() of the first optimizer step
    solved_at: float | None  # time.time() when training's mean return first reached the threshold and stayed confirmed
    ended_at: float  # time.time() when training ended
    training_seconds: float  # of this process, without those of runs it resumes
    shares: npt.NDArray[np.float64]  # [M, 3] seconds of each worker: acting, of these inside the environment, learning


class Training(ABC):
    """One run; ``run`` does it all. Subclasses say where the steps are played."""

    def __init__(
        self,
        config: Config,
        spaces: Spaces,
        folder: RunFolder,
        events: Stream,
        *,
        initial: WeightsFile | None = None,
        resumed: WeightsFile | None = None,
    ) -> None:
        self._config, self._folder, self._events = config, folder, events
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
        self._ended: float | None = None  # time.monotonic() when training ended
        self._told_skipped = False
        self._ended_episodes: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]] = []

    def run(self, stopped: threading.Event) -> Outcome:
        """Train until a stop condition holds or ``stopped`` is set.

        Raises:
            MarlError: it cannot go on. What was learned is saved first.
        """
        with ProcessGroup() as group:
            self._group = group
            self._writer = BackgroundWriter(self._events.note)
            key = find_seal_key(self._events.note)
            self.checkpoints = CheckpointManager(self._config, self._spaces, self._folder, self._writer, key)
            self._evaluation = self._make_evaluation()
            try:
                with self._damage_told():
                    self._open()
                    if self._resumed is not None:
                        self._restore(self._resumed)
                self._base_steps = self._steps()
                self._started = time.monotonic()
                self._events.follow(lambda: (self._seconds(), self._meter.steps))
                self._shown, self._recorded = Pace(self._seconds()), Pace(self._seconds())
                try:
                    self._start()
                    self._folder.write_facts({"seed": self._config.seed, **self._facts()})
                    reason = self._watch(stopped)
                    self._stop()
                    over, allowed = self._ended_at(), patience(self._ended_at() - self._started)
                    if reason in ("steps", "minutes", "episodes"):
                        self._evaluation.last(self._snapshot(), stopped, over + LAST_WEIGHTS_SHARE * allowed)
                finally:
                    self._stop()
                    self._finish()
                # All is saved: what the weights earn is only to be told.
                final = self._evaluation.final(self._final_snapshot, stopped, over + allowed)
                if final.summary is not None:
                    mean, std, count = final.summary.mean, final.summary.std, final.summary.episodes
                    steps = self._final_snapshot.steps
                    self._events.on(Evaluated(steps=steps, mean=mean, std=std, episodes=count, final=True))
                return self._outcome(reason, final)
            finally:
                self._writer.close()
                self._close()

    def _make_evaluation(self) -> Evaluation:
        return Evaluation(
            self._config,
            self._spaces,
            self._group,
            self.checkpoints,
            self._meter,
            note=self._events.note,
            log=self._log,
            tell=self._events.on,
        )

    @contextlib.contextmanager
    def _damage_told(self) -> Iterator[None]:
        """What a damaged checkpoint makes of code that trusts it is one line."""
        try:
            yield
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
            if self._resumed is None:
                raise
            damage = f"{type(error).__name__}: {error}"
            raise WeightsFileError(f"{latest_checkpoint(self._folder)} is damaged ({damage}): use --init") from error

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

    def _learned(self) -> bool:
        return self._final_snapshot.updates > 0

    def _first_update_at(self) -> float | None:
        return None

    def _shares(self) -> npt.NDArray[np.float64]:
        return np.zeros((0, 3))

    def _restore(self, resumed: WeightsFile) -> None:
        """Go on counting where the run that is resumed stopped."""
        self._meter.restore(resumed.info["meter"])
        self._base_seconds = float(resumed.info["seconds"])
        if resumed.info.get("best_mean") is not None:
            self.checkpoints.recall(float(resumed.info["best_mean"]))

    def _seconds(self) -> float:
        """Of training, over all resumes."""
        return self._base_seconds + self._ended_at() - self._started

    def _ended_at(self) -> float:
        """time.monotonic() when training ended; now, while it goes on."""
        return time.monotonic() if self._ended is None else self._ended

    def _watch(self, stopped: threading.Event) -> str:
        now = time.monotonic()
        due = {"show": now, "metrics": now + self._config.report.every_seconds}
        self._evaluation.begin()
        self._checkpoint_at = now + self._config.checkpoint.every_seconds
        while True:
            self._group.wait(TICK)
            looked = time.monotonic()
            if stopped.is_set():  # before any look at the workers: a signal to the whole group ends them as well
                self._interrupted()
                reason: str | None = "stopped"
            else:
                self._evaluation.collect()  # a dead evaluator that nobody looks after would end every wait at once
                reason = self._tend(stopped)
            if reason:
                if reason == "minutes" and self._goal.seconds is not None:  # the time was up after the look began
                    looked = max(looked, self._started + self._goal.seconds - self._base_seconds)
                self._ended = looked
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
        if self._evaluation.solved or (not self._evaluation.decides and self._meter.solved()):
            return "solved"
        if goal.steps is not None and self._steps() >= goal.steps:
            return "steps"
        if goal.seconds is not None and self._seconds() >= goal.seconds:
            return "minutes"
        if goal.episodes is not None and self._meter.episodes >= goal.episodes:
            return "episodes"
        return None

    def _status(self, pace: Pace | None = None) -> Status:
        """The newest numbers; with speeds for the reader that has this pace."""
        counts = self._counts()
        if counts.metrics.get(SKIPPED_UPDATES) and not self._told_skipped:
            self._told_skipped = True
            self._events.note("a gradient was not finite: its update is skipped, and counted in skipped_updates")
        speed = NO_SPEED if pace is None else self._speed(pace, counts)
        return self._meter.update(self._seconds(), counts.steps, counts.updates, counts.metrics, counts.restarts, speed)

    def _speed(self, pace: Pace, counts: Counts) -> Speed:
        return (pace.look if self._ended is None else pace.hold)(self._seconds(), counts.steps)

    def _add_episodes(self, returns: npt.NDArray[np.float64], lengths: npt.NDArray[np.int64]) -> None:
        """Hand finished episodes to the meter."""
        if len(returns):
            steps = int(self._counts().steps.sum())
            self._meter.add_episodes(returns, lengths, steps=steps, seconds=self._seconds())
            self._ended_episodes.append((returns, lengths))

    def _show(self) -> None:
        self._events.on(self._progress())

    def _progress(self) -> Progress:
        status = self._status(self._shown)
        return Progress(seconds=status.seconds, steps=status.steps, status=status)

    def _record(self) -> None:
        self._events.on(self._status(self._recorded))
        if self._ended_episodes:
            returns, lengths = map(np.concatenate, zip(*self._ended_episodes, strict=True))
            self._ended_episodes.clear()
            self._events.on(Episodes(returns=returns, lengths=lengths))

    def _checkpoint_if_due(self) -> None:
        now = time.monotonic()
        if now >= self._checkpoint_at:
            self._checkpoint_at = now + self._config.checkpoint.every_seconds
            self._save(self._snapshot())

    def _save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint in the background."""
        self._status()
        info = {"meter": self._meter.state(), "seconds": self._seconds(), **self._saved()}
        written = Checkpointed(steps=snapshot.steps, seconds=info["seconds"], file=CHECKPOINT)
        self.checkpoints.checkpoint(snapshot, info, lambda: self._events.on(written))
        self._save_curve()

    def _save_curve(self) -> None:
        curve = Curve(self._meter.curve.points)  # a copy: it is written in the background
        self._writer.write(self._folder.curve, curve.lines)

    def _finish(self) -> None:
        """Whatever happened, what was learned reaches the disk."""
        self._ended = self._ended_at()
        with contextlib.suppress(Exception):
            self._collect_episodes()
        self._save_last()
        self._final_snapshot = self._snapshot()
        self._writer.close()  # before anything is shown: standard output may be closed
        self._show()
        self._record()

    @abstractmethod
    def _collect_episodes(self) -> None:
        """Hand the last episodes to the meter."""

    def _save_last(self) -> None:
        self._save(self._snapshot())

    def _outcome(self, reason: str, evaluation: Final) -> Outcome:
        return Outcome(
            reason=reason,
            status=self._status(),
            steps=int(self._counts().steps.sum()),
            evaluation=evaluation,
            last=self._final_snapshot,
            learned=self._learned(),
            first_update_at=self._first_update_at(),
            solved_at=self._evaluation.solved_at if reason == "solved" else None,
            ended_at=time.time() - (time.monotonic() - self._ended_at()),
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
