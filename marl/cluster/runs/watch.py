"""A run from its first step to its last: look after the trainer, evaluate, save, show, stop."""

import contextlib
import threading
import time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.cluster.planning.model import Reference
from marl.cluster.runs.checkpoint_manager import CHECKPOINT, CheckpointManager
from marl.cluster.runs.evaluation import TICK, Evaluation, Final, patience
from marl.cluster.runs.status import StatusReporter
from marl.cluster.runs.trials import Audit
from marl.cluster.snapshot import Snapshot
from marl.cluster.trainers.trainer import Trainer
from marl.config.settings import Config
from marl.processes.group import ProcessGroup
from marl.reports.events import Checkpointed, Evaluated, Status
from marl.reports.meter import Meter, StopGoal
from marl.reports.plots.curve import Curve
from marl.reports.run_folder import RunFolder
from marl.reports.stream import Stream
from marl.training.saved.checkpoint import BackgroundWriter
from marl.training.saved.weights_file import WeightsFile

SHOW_EVERY = 0.2
LAST_WEIGHTS_SHARE = 0.6  # the last weights' share of the time for evaluation after training


class Outcome(NamedTuple):
    """How a run ended."""

    reason: str  # "solved", "steps", "minutes", "episodes", "stopped"
    status: Status
    steps: int  # played in this run, without those of runs it resumes
    evaluation: Final  # of the weights that are kept
    last: Snapshot
    learned: bool  # whether there was any update, in this run or in those that it resumes
    first_update_at: float | None  # time.time() of the first optimizer step
    solved_at: float | None  # time.time() when training's mean return rose to the threshold for good
    ended_at: float  # time.time() when training ended
    training_seconds: float  # of this process, without those of runs it resumes
    shares: npt.NDArray[np.float64]  # [M, 3] seconds of each worker: acting, of these inside the environment, learning


class Run:
    """Joins trainer, evaluation, checkpoints and sinks; ``assembled`` makes one."""

    def __init__(
        self,
        config: Config,
        trainer: Trainer,
        evaluation: Evaluation,
        checkpoints: CheckpointManager,
        meter: Meter,
        goal: StopGoal,
        folder: RunFolder,
        events: Stream,
        *,
        group: ProcessGroup,
        writer: BackgroundWriter,
        audit: Audit | None = None,
        reference: Reference | None = None,
    ) -> None:
        """
        Args:
            goal: when the run ends.
            group: the run's processes; the loop sleeps until one of them sends something or ends.
            writer: of files, in the background.
            audit: finds children that lie; None if they cannot harm the weights.
            reference: what the speed-up is measured against; None: none is told.
        """
        self.checkpoints, self._reference = checkpoints, reference
        self._config, self._trainer, self._evaluation, self._audit = config, trainer, evaluation, audit
        self._meter, self._goal, self._folder, self._events = meter, goal, folder, events
        self._group, self._writer = group, writer
        self._base_seconds = 0.0
        self._ended: float | None = None  # time.monotonic() when training ended
        self._evaluated_version = self._saved_version = 0

    def restore(self, resumed: WeightsFile) -> None:
        """Go on counting where the run that is resumed stopped."""
        self._meter.restore(resumed.info["meter"])
        self._base_seconds = float(resumed.info["seconds"])
        if resumed.info.get("best_mean") is not None:
            self.checkpoints.recall(float(resumed.info["best_mean"]))
        if (saved := resumed.info.get("reference")) is not None:
            self._reference = Reference(*saved)

    def train(self, stopped: threading.Event) -> Outcome:
        """Train until a stop condition holds or ``stopped`` is set.

        Raises:
            MarlError: it cannot go on. What was learned is saved first.
        """
        self._begin()
        try:
            self._trainer.start(self._save_now, self._started - self._base_seconds)
            self._facts = self._trainer.facts()
            self._folder.write_facts({"seed": self._config.seed, **self._facts})
            reason = self._watch(stopped)
            self._trainer.stop()
            over, allowed = self._ended_at(), patience(self._seconds())
            if reason in ("steps", "minutes", "episodes"):
                self._evaluation.last(self._trainer.snapshot(), stopped, over + LAST_WEIGHTS_SHARE * allowed)
        finally:
            self._trainer.stop()
            self._finish()
        # Everything is saved by now. The final evaluation is only reported.
        final = self._evaluation.final(self._final_snapshot, stopped, over + allowed)
        self._tell(final)
        return self._outcome(reason, final)

    def never_began(self) -> bool:
        """Whether nothing was played at all."""
        return self._trainer.never_began()

    def _begin(self) -> None:
        """Time counts from now."""
        self._started = time.monotonic()
        self._events.follow(lambda: (self._seconds(), self._meter.steps))
        self._reporter = StatusReporter(self._trainer, self._meter, self._events, self._seconds, self._reference)
        self._saved_meter, self._facts = self._meter.state(), self._trainer.facts()

    def _seconds(self) -> float:
        """Seconds of training, over all resumes."""
        return self._base_seconds + self._ended_at() - self._started

    def _ended_at(self) -> float:
        """time.monotonic() when training ended; the present time if it has not ended."""
        return time.monotonic() if self._ended is None else self._ended

    def _watch(self, stopped: threading.Event) -> str:
        now = time.monotonic()
        due = {"show": now, "metrics": now + self._config.report.every_seconds}
        self._evaluation.begin()
        self._checkpoint_at = now + self._config.checkpoint.every_seconds
        while True:
            self._group.wait(TICK)
            looked = time.monotonic()
            # Before any look at the workers: a signal to the whole group ends them as well.
            reason = self._interrupted() if stopped.is_set() else self._look(stopped)
            if reason:
                if reason == "minutes" and self._goal.seconds is not None:  # the time was up after the look began
                    looked = max(looked, self._started + self._goal.seconds - self._base_seconds)
                self._ended = looked
                return reason
            now = time.monotonic()
            if now >= due["show"]:
                due["show"] = now + SHOW_EVERY
                self._reporter.show()
            if now >= due["metrics"]:
                due["metrics"] = now + self._config.report.every_seconds
                self._record()

    def _interrupted(self) -> str:
        self._trainer.last_round()
        return "stopped"

    def _look(self, stopped: threading.Event) -> str | None:
        """Look after what is going on, evaluate, save; a reason if the run is to end now."""
        self._evaluation.collect()  # a dead evaluator ends every wait at once until it is handled
        if self._trainer.tend():
            self._meter.restore(self._saved_meter)
        if self._config.deterministic:
            return self._at_pause(stopped)
        self._reporter.collect_episodes()
        reason = self._reason()
        if reason is None:
            if self._audit is not None:
                self._audit.tend()
            self._evaluate_and_save()
        elif reason != "solved":
            self._trainer.await_first_update(stopped)
            self._trainer.last_round()
        return reason

    def _evaluate_and_save(self) -> None:
        """If the weights have versions, save each version and evaluate it at most once. Otherwise the time decides."""
        version, now = self._trainer.version, time.monotonic()
        if version is None:
            self._evaluation.offer(self._trainer.snapshot)
            if now >= self._checkpoint_at:
                self._checkpoint_at = now + self._config.checkpoint.every_seconds
                self._save(self._trainer.snapshot())
            return
        if version > self._evaluated_version and self._evaluation.offer(self._trainer.snapshot):
            self._evaluated_version = version
        if version > self._saved_version:
            self._saved_version = version
            self._save(self._trainer.snapshot())

    def _at_pause(self, stopped: threading.Event) -> str | None:
        """Deterministic workers or children wait: decide, save, let them go on."""
        pause = self._trainer.pause()
        self._reporter.collect_episodes()
        if pause is None:
            return None
        snapshot = self._trainer.snapshot()
        if self._evaluation.decides and (self._meter.solved() or pause.number % 4 == 0):
            self._evaluation.wait_for(snapshot, stopped)
            if stopped.is_set():  # a checkpoint now would lack the score
                return self._interrupted()
        self._save(snapshot)
        reason = self._reason()
        pause.proceed(reason is None)
        return reason

    def _reason(self) -> str | None:
        """Why training should end now, if it should."""
        goal = self._goal
        if self._evaluation.solved or (not self._evaluation.decides and self._meter.solved()):
            return "solved"
        if goal.steps is not None and self._trainer.steps() >= goal.steps:
            return "steps"
        if goal.seconds is not None and self._seconds() >= goal.seconds:
            return "minutes"
        if goal.episodes is not None and self._meter.episodes >= goal.episodes:
            return "episodes"
        return None

    def _record(self) -> None:
        if not self._trainer.leads():
            return
        if (facts := self._trainer.facts()) != self._facts:
            self._facts = facts
            self._folder.update_facts(facts)
        self._reporter.record()

    def _save_now(self) -> None:
        self._save(self._trainer.snapshot())
        self._writer.flush()

    def _save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint in the background, unless another process has taken over the run."""
        if not self._trainer.leads():
            return
        self._reporter.status()
        self._saved_meter = self._meter.state()
        info: dict[str, Any] = {"meter": self._saved_meter, "seconds": self._seconds(), **self._trainer.info()}
        if self._reference is not None:
            info["reference"] = list(self._reference)
        written = Checkpointed(steps=snapshot.steps, seconds=info["seconds"], file=CHECKPOINT)
        self.checkpoints.checkpoint(snapshot, info, lambda: self._events.on(written))
        self._trainer.saved(snapshot)
        self._save_curve()

    def _save_curve(self) -> None:
        curve = Curve(self._meter.curve.points)  # a copy: it is written in the background
        self._writer.write(self._folder.curve, curve.lines)

    def _finish(self) -> None:
        """Whatever happened, what was learned reaches the disk."""
        self._ended = self._ended_at()
        self._reporter.end()
        with contextlib.suppress(Exception):
            self._reporter.collect_episodes()
        if self._trainer.resumable:
            self._save(self._trainer.snapshot())
        else:
            self._save_curve()
        self._final_snapshot = self._trainer.snapshot()
        self._writer.close()  # before anything is shown: standard output may be closed
        self._reporter.show()
        self._record()

    def _tell(self, final: Final) -> None:
        if final.summary is not None:
            mean, std, count = final.summary.mean, final.summary.std, final.summary.episodes
            steps = self._final_snapshot.steps
            self._events.on(Evaluated(steps=steps, mean=mean, std=std, episodes=count, final=True))

    def _outcome(self, reason: str, evaluation: Final) -> Outcome:
        status = self._reporter.status()
        updates, version = self._final_snapshot.updates, self._trainer.version
        return Outcome(
            reason=reason,
            status=status,
            steps=int(self._trainer.counts().steps.sum()),
            evaluation=evaluation,
            last=self._final_snapshot,
            learned=updates > 0 or bool(version),  # what children report of updates may lag behind
            first_update_at=self._trainer.first_update_at(),
            solved_at=self._evaluation.solved_at if reason == "solved" else None,
            ended_at=time.time() - (time.monotonic() - self._ended_at()),
            training_seconds=self._seconds() - self._base_seconds,
            shares=self._trainer.shares(),
        )
