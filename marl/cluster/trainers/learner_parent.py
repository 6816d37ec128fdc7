"""Train on children that only play: a learner here learns from what they send."""

import threading
from typing import Any

import numpy as np
from torch import nn

from marl.cluster.learner import LearnerNode
from marl.cluster.runs.training import Counts
from marl.cluster.snapshot import Snapshot
from marl.cluster.statistics import statistics_size
from marl.cluster.trainers.parent import NAME, ParentTraining
from marl.data import seeds
from marl.data.normalizer import Moments
from marl.errors import WorkerFailed
from marl.exchanges.sides import RunSide


class LearnerParentTraining(ParentTraining):
    """One run on children, by the experience exchange."""

    def _make_side(
        self, network: nn.Module, statistics: Moments | None, info: dict[str, Any], num_children: int
    ) -> RunSide:
        config = self._config
        self._learner = LearnerNode(config, self._spaces, self._group, children=num_children)
        epoch = int(info.get("epoch", 0)) + 1
        self._learner.segment = seeds.first_segment(epoch)
        for mine, given in zip(self._learner.network.parameters(), network.parameters(), strict=True):
            mine.data.copy_(given.data)
        for mine_, given_ in zip(self._learner.network.buffers(), network.buffers(), strict=True):
            mine_.copy_(given_)
        self._learner.block["weights"].copy_(self._learner.flat.weights)
        steps = int(info.get("steps", 0))
        if self._resumed is not None:
            before = Snapshot(self._resumed.tensors, steps, int(info["updates"]))
            self._learner.restore(before, int(info.get("version", 0)))
        self._experience = self._learner.parent_side(
            children=num_children,
            name=NAME,
            observation_size=statistics_size(config, self._spaces),
            statistics=statistics,
            sample=self._sample,
            epoch=epoch,
            steps=steps,
            hear=self._child_metrics.hear,
            note=self._events.note,
        )
        return self._experience

    def _start(self) -> None:
        self._learner.start()
        super()._start()

    def _stop(self) -> None:
        super()._stop()
        self._learner.stop()

    def _tend(self, unused_stopped: threading.Event) -> str | None:
        if self._experience.failure is not None:
            error = self._experience.failure
            raise WorkerFailed(
                f"the network cannot decide ({type(error).__name__}: {error}); what was learned is saved"
            )
        self._look_around()
        self._learner.check(self._events.note, self._log)
        self._learner.progress(self._experience.steps)
        self._collect_episodes()
        reason = self._reason()
        if reason is None:
            self._evaluation.offer(self._snapshot)
            self._checkpoint_if_due()
        return reason

    def _steps(self) -> int:
        return self._experience.steps

    def _counts(self) -> Counts:
        """Steps are those that came: what the children have told of may be older, or still be on its way."""
        counts = super()._counts()
        steps = np.array([self._experience.steps - self._base_steps])
        updates = np.array([self._learner.own_updates()])
        metrics = self._learner.metrics() | {"refused": float(self._experience.refused)}
        return Counts(steps, updates, metrics, counts.restarts + self._learner.restarts)

    def _snapshot(self) -> Snapshot:
        snapshot = super()._snapshot()
        return Snapshot({**snapshot.tensors, **self._learner.tensors()}, snapshot.steps, self._learner.updates())
