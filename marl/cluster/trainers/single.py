"""Train on this machine alone: start the node, watch it, evaluate it, save it, stop it."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from marl.cluster.node import Node, is_worker, snapshot_from
from marl.cluster.runs.training import Counts, Training
from marl.cluster.snapshot import Snapshot
from marl.processes.cores import count_cores
from marl.training.weights_file import WeightsFile, fill


class SingleTraining(Training):
    """One run on one machine."""

    def _open(self) -> None:
        workers = 1 if self._config.deterministic else self._config.node.workers or count_cores()
        self._node = Node(self._config, self._spaces, self._group, workers)
        if self._initial is not None:
            fill(self._node.network, self._initial, "the initial weights")
            self._node.block["weights"].copy_(self._node.flat.weights)
            if "normalizer" in self._initial.tensors and self._config.environment.normalize_observations:
                self._node.block["observations"][:1].copy_(self._initial.tensors["normalizer"])

    def _restore(self, resumed: WeightsFile) -> None:
        super()._restore(resumed)
        self._node.restore(snapshot_from(resumed.tensors, resumed.info))
        self._node.segment = int(resumed.info["segment"])

    def _start(self) -> None:
        # Where a deterministic worker that dies begins again.
        self._last_saved, self._saved_meter = self._node.snapshot(), self._meter.state()
        self._node.start()

    def _stop(self) -> None:
        self._node.stop()

    def _tend(self, stopped: threading.Event) -> str | None:
        self._supervise()
        ends = self._node.waiting()
        self._collect_episodes()
        if self._config.deterministic:
            reasons = [self._at_segment_end(end.segment, stopped) for end in ends]
            return next((reason for reason in reasons if reason), None)
        reason = self._reason()
        if reason is None:
            self._evaluation.offer(self._snapshot)
            self._checkpoint_if_due()
        return reason

    def _supervise(self) -> None:
        died = [name for name in self._node.check(self._events.note, self._log, "worker") if is_worker(name)]
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
        if self._evaluation.decides and (self._meter.solved() or segment % 4 == 0):
            self._evaluation.wait_for(snapshot, stopped)
            if stopped.is_set():  # a checkpoint now would lack the verdict
                return "stopped"
        self._save(snapshot)
        reason = self._reason()
        self._node.answer(go_on=reason is None)
        return reason

    def _save(self, snapshot: Snapshot) -> None:
        super()._save(snapshot)
        self._last_saved, self._saved_meter = snapshot, self._meter.state()

    def _save_last(self) -> None:
        if self._config.deterministic:  # its checkpoints lie at the ends of segments, nowhere else
            self._save_curve()
        else:
            super()._save_last()

    def _saved(self) -> dict[str, Any]:
        return {"segment": self._node.segment}

    def _collect_episodes(self) -> None:
        self._add_episodes(*self._node.episodes())

    def _steps(self) -> int:
        return self._node.steps()

    def _counts(self) -> Counts:
        steps, updates = self._node.worker_counts()
        return Counts(steps, updates, self._node.metrics(), self._node.restarts)

    def _snapshot(self) -> Snapshot:
        return self._node.snapshot()

    def _facts(self) -> dict[str, Any]:
        return {"workers": self._node.workers}

    def _first_update_at(self) -> float | None:
        return self._node.first_update_at()

    def _shares(self) -> npt.NDArray[np.float64]:
        return self._node.shares()
