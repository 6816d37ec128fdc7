"""Train on this machine alone: start the node, watch it, judge it, save it, stop it."""

import contextlib
import threading
import time
from pathlib import Path
from typing import NamedTuple, Protocol

from marl.cluster.evaluator import Evaluator, Verdict
from marl.cluster.keeper import CHECKPOINT, Keeper
from marl.cluster.node import Node, Snapshot, is_worker, snapshot_from
from marl.config import Config
from marl.data.spaces import Spaces
from marl.processes.cores import count_cores
from marl.processes.group import ProcessGroup
from marl.reports.meter import Meter, Status, StopGoal
from marl.reports.run_folder import RunFolder
from marl.reports.tensorboard import TensorBoardWriter
from marl.training.checkpoint import BackgroundWriter
from marl.training.weights_file import WeightsFile, fill

TICK = 0.02  # seconds between two looks at the workers
SHOW_EVERY = 0.2


class View(Protocol):
    """Where progress is shown."""

    def show(self, status: Status) -> None:
        """The newest numbers."""

    def note(self, text: str) -> None:
        """Something that happened."""


class Outcome(NamedTuple):
    """How a run ended."""

    reason: str  # "solved", "steps", "minutes", "episodes", "stopped"
    status: Status
    best: Verdict | None
    last: Snapshot
    first_update_at: float | None  # time.time() of the first optimizer step
    solved_at: float | None  # time.time() when training's mean return first reached the threshold and stayed confirmed
    training_seconds: float  # of this process, without those of runs it resumes
    node: Node


class Training:
    """One run on one machine; ``run`` does it all."""

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
        self._solved = False
        self._solved_at: float | None = None

    def run(self, stopped: threading.Event) -> Outcome:
        """Train until a stop condition holds or ``stopped`` is set.

        Raises:
            WorkerFailed: workers kept dying. What was learned is saved first.
        """
        with ProcessGroup() as group:
            self._group = group
            self._node = Node(self._config, self._spaces, group, self._workers())
            self._evaluator = Evaluator(self._config, group)
            self._writer = BackgroundWriter(self._view.note)
            self.keeper = Keeper(self._config, self._spaces, self._folder, self._writer)
            self._prepare()
            self._node.start()
            self._tensorboard: TensorBoardWriter | None = None
            self._folder.write_facts({"seed": self._config.seed, "workers": self._node.workers})
            self._started = time.monotonic()
            try:
                reason = self._watch(stopped)
                self._node.stop()
                if reason in ("steps", "minutes", "episodes"):
                    self._judge_last(stopped)
            finally:
                self._node.stop()
                self._finish()
            return self._outcome(reason)

    def _workers(self) -> int:
        return 1 if self._config.deterministic else self._config.node.workers or count_cores()

    def _prepare(self) -> None:
        """Put loaded weights into the node's memory."""
        if self._initial is not None:
            fill(self._node.network, self._initial, "the initial weights")
            self._node.block["weights"].copy_(self._node.flat.weights)
            if "normalizer" in self._initial.tensors and self._config.environment.normalize_observations:
                self._node.block["observations"][:1].copy_(self._initial.tensors["normalizer"])
        if self._resumed is not None:
            info = self._resumed.info
            self._node.restore(snapshot_from(self._resumed.tensors, info))
            self._node.segment = int(info["segment"])
            self._meter.restore(info["meter"])
            self._base_seconds = float(info["seconds"])
            if info.get("best_mean") is not None:
                self.keeper.best_mean = float(info["best_mean"])
        self._base_steps = self._node.steps()
        self._last_saved = self._node.snapshot()
        self._saved_meter = self._meter.state()

    def _seconds(self) -> float:
        """Of training, over all resumes."""
        return self._base_seconds + time.monotonic() - self._started

    def _watch(self, stopped: threading.Event) -> str:
        now = time.monotonic()
        due = {"show": now, "metrics": now + self._config.report.every_seconds}
        due |= {"judge": now + self._config.evaluation.every_seconds}
        due |= {"checkpoint": now + self._config.checkpoint.every_seconds}
        while True:
            self._group.wait(TICK)
            if stopped.is_set():  # before any look at the workers: a signal to the whole group ends them as well
                return "stopped"
            self._supervise()
            ends = self._node.waiting()
            self._meter.add_episodes(*self._node.episodes())
            if self._config.deterministic:
                for end in ends:
                    reason = self._at_segment_end(end.segment, stopped)
                    if reason:
                        return reason
            else:
                reason = self._reason()
                if reason:
                    return reason
                self._judge(due)
            now = time.monotonic()
            if now >= due["show"]:
                due["show"] = now + SHOW_EVERY
                self._view.show(self._status())
            if now >= due["metrics"]:
                due["metrics"] = now + self._config.report.every_seconds
                self._record()
            if now >= due["checkpoint"] and not self._config.deterministic:
                due["checkpoint"] = now + self._config.checkpoint.every_seconds
                self._save(self._node.snapshot())

    def _reason(self) -> str | None:
        """Why training should end now, if it should."""
        goal = self._goal
        if self._solved:
            return "solved"
        if goal.steps is not None and self._node.steps() >= goal.steps:
            return "steps"
        if goal.seconds is not None and self._seconds() >= goal.seconds:
            return "minutes"
        if goal.episodes is not None and self._meter.episodes >= goal.episodes:
            return "episodes"
        return None

    def _supervise(self) -> None:
        died = [name for name in self._node.check(self._view.note, self._log) if is_worker(name)]
        if died and self._config.deterministic:
            # The worker begins its segment again, from what every run with this seed had there.
            self._node.restore(self._last_saved)
            self._meter.restore(self._saved_meter)
            self._node.episodes()
        for name in died:
            self._node.restart(name)

    def _at_segment_end(self, segment: int, stopped: threading.Event) -> str | None:
        """A deterministic worker waits: decide, save, let it go on."""
        self._node.segment = segment
        snapshot = self._node.snapshot()
        self._node.fold_statistics(snapshot)
        if self._config.evaluation.episodes and (self._meter.solved() or segment % 4 == 0):
            self._judge_now(snapshot, stopped)
            if stopped.is_set():  # a checkpoint now would lack the verdict
                return "stopped"
        self._save(snapshot)
        reason = self._reason()
        self._node.answer(go_on=reason is None)
        return reason

    def _judge_now(self, snapshot: Snapshot, stopped: threading.Event) -> None:
        """Wait for a verdict on this snapshot, however often the judge is killed over it; a signal ends the wait."""
        verdict = None
        while verdict is None and not stopped.is_set():
            if not self._evaluator.busy:
                self._evaluator.submit(snapshot)
            verdict = self._evaluator.verdict(TICK)
            self._node.check(self._view.note, self._log, Evaluator.NAME)
        self._weigh(verdict)

    def _judge(self, due: dict[str, float]) -> None:
        """Keep the evaluator busy with what may be the best weights so far."""
        self._weigh(self._evaluator.verdict())
        if self._evaluator.busy or self._solved:
            return
        now = time.monotonic()
        if not self._meter.solved():
            self._solved_at = None
        elif self._solved_at is None:
            self._solved_at = time.time()
        if self._solved_at or (now >= due["judge"] and self._meter.episodes):
            due["judge"] = now + self._config.evaluation.every_seconds
            self._evaluator.submit(self._node.snapshot())

    def _weigh(self, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        threshold = self._goal.solved_return
        self._solved = threshold is not None and verdict.mean >= threshold and self._meter.solved()
        self.keeper.weigh(verdict, keep_anyway=self._solved)

    def _judge_last(self, stopped: threading.Event) -> None:
        """The last weights may be the best; Ctrl-C does without."""
        if self._config.deterministic:
            return self._judge_now(self._node.snapshot(), stopped)
        while self._evaluator.busy and not stopped.is_set():
            self._group.wait(TICK)
            self._weigh(self._evaluator.verdict())
            self._group.check()
        if stopped.is_set() or not self._meter.episodes:
            return
        self._evaluator.submit(self._node.snapshot())
        while self._evaluator.busy and not stopped.is_set():
            self._group.wait(TICK)
            self._weigh(self._evaluator.verdict())
            self._group.check()

    def _status(self) -> Status:
        steps, updates = self._node.worker_counts()
        return self._meter.update(
            time.monotonic() - self._started, steps, updates, self._node.metrics(), self._node.restarts
        )

    def _record(self) -> None:
        status = self._status()
        warning = self._folder.append_metrics(status)
        if warning:
            self._view.note(warning)
        if self._tensorboard is None and self._config.report.tensorboard:
            self._tensorboard = TensorBoardWriter(self._folder.tensorboard, purge_steps=self._base_steps or None)
        if self._tensorboard is not None:
            self._tensorboard.write(status)

    def _save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint in the background."""
        self._status()
        self._last_saved, self._saved_meter = snapshot, self._meter.state()
        info = {"segment": self._node.segment, "meter": self._saved_meter, "seconds": self._seconds()}
        self.keeper.checkpoint(snapshot, info)

    def _finish(self) -> None:
        """Whatever happened, what was learned reaches the disk."""
        with contextlib.suppress(Exception):
            self._meter.add_episodes(*self._node.episodes())
        if not self._config.deterministic:
            self._save(self._node.snapshot())
        self._final_snapshot = self._node.snapshot()
        self._writer.close()  # before anything is shown: standard output may be closed
        self._view.show(self._status())
        self._record()
        if self._tensorboard is not None:
            self._tensorboard.close()

    def _outcome(self, reason: str) -> Outcome:
        return Outcome(
            reason=reason,
            status=self._status(),
            best=self.keeper.best,
            last=self._final_snapshot,
            first_update_at=self._node.first_update_at(),
            solved_at=self._solved_at if reason == "solved" else None,
            training_seconds=self._seconds() - self._base_seconds,
            node=self._node,
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
