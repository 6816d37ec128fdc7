"""Train on this machine with actors and a learner: the experience exchange over a link in memory.

Worker processes play and never learn, a learner process learns and never plays; this process joins the two halves of
the exchange by two threads, just as a parent and its children are joined across a network. Where only observations
travel one thread does, for nothing waits between the halves.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from marl.cluster.learner import LearnerNode
from marl.cluster.node import Node, is_worker
from marl.cluster.runs.training import Counts, Training
from marl.cluster.snapshot import Snapshot
from marl.cluster.statistics import statistics_of, statistics_size, tensors_of
from marl.data import seeds
from marl.errors import LinkError
from marl.exchanges.base import ChildFacts
from marl.exchanges.conversation import confer, converse, report
from marl.links.memory import memory_pair
from marl.processes.cores import count_cores
from marl.training.weights_file import WeightsFile, fill

ACTORS, PARENT = "actors", "parent"
JOIN_S = 2.0  # for the two threads to end
PATIENCE_S = 1e6  # this process may be stopped and continued, and both threads with it: neither can be gone alone


class ActorLearnerTraining(Training):
    """One run on one machine, by the experience exchange."""

    def _open(self) -> None:
        config, spaces = self._config, self._spaces
        self._learner = LearnerNode(config, spaces, self._group)
        start = self._resumed or self._initial
        statistics = None
        if start is not None:
            fill(self._learner.network, start, "the initial weights")
            self._learner.block["weights"].copy_(self._learner.flat.weights)
            statistics = statistics_of(config, start.tensors)
        info = self._resumed.info if self._resumed is not None else {}
        epoch = int(info.get("epoch", 0)) + 1
        workers = config.node.workers or max(1, count_cores() - 1)
        self._parent = self._learner.parent_side(
            children=1,
            name=PARENT,
            observation_size=statistics_size(config, spaces),
            statistics=statistics,
            epoch=epoch,
            steps=int(info.get("steps", 0)),
            note=self._events.note,
        )
        self._parent.assign_rank(ACTORS, 0, workers)
        self._node = Node(config, spaces, self._group, workers, alone=False)
        self._node.segment = self._learner.segment = seeds.first_segment(epoch)
        normalizes = bool(statistics_size(config, spaces))
        self._child = config.exchange.child(
            ChildFacts(self._node.block, ACTORS, normalizes=normalizes, note=self._events.note)
        )
        here, there = memory_pair(patience=PATIENCE_S)
        self._links = here, there
        self._over = threading.Event()
        self._errors: list[BaseException] = []
        if config.exchange.at_once:
            both = self._child, self._parent, self._over
            self._threads = [self._thread("actors", lambda: confer(*both, name=ACTORS))]
            return
        self._threads = [
            self._thread("actors", lambda: report(there, self._child, self._over, name=ACTORS)),
            self._thread("learner", lambda: converse(here, ACTORS, self._parent, self._over, name=PARENT)),
        ]

    def _thread(self, name: str, target: Callable[[], Any]) -> threading.Thread:
        def run() -> None:
            try:
                target()
            except LinkError as error:
                if not self._over.is_set():
                    self._errors.append(error)
            except BaseException as error:  # shown by whoever watches
                self._errors.append(error)

        return threading.Thread(target=run, name=name, daemon=True)

    def _restore(self, resumed: WeightsFile) -> None:
        super()._restore(resumed)
        info = resumed.info
        self._learner.restore(
            Snapshot(resumed.tensors, int(info["steps"]), int(info["updates"])), int(info.get("version", 0))
        )

    def _start(self) -> None:
        self._learner.start()
        for thread in self._threads:
            thread.start()
        while not self._child.started.wait(0.01) and not self._errors:
            pass  # two threads of this process: nobody else is waited for
        self._node.start()

    def _stop(self) -> None:
        self._over.set()
        self._parent.close()
        self._node.stop()
        self._learner.stop()
        for link in self._links:
            link.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(JOIN_S)

    def _tend(self, unused_stopped: threading.Event) -> str | None:
        if self._errors:
            raise self._errors[0]
        for name in self._node.check(self._events.note, self._log, "worker"):
            if is_worker(name):
                self._node.restart(name)
        self._learner.check(self._events.note, self._log)
        self._learner.progress(self._parent.steps)
        self._collect_episodes()
        reason = self._reason()
        if reason is None:
            self._evaluation.offer(self._snapshot)
            self._checkpoint_if_due()
        return reason

    def _saved(self) -> dict[str, Any]:
        return {"epoch": self._parent.epoch, "version": self._parent.current.version}

    def _collect_episodes(self) -> None:
        self._add_episodes(*self._node.episodes())

    def _steps(self) -> int:
        return self._parent.steps

    def _counts(self) -> Counts:
        steps, _ = self._node.worker_counts()
        updates = np.array([self._learner.own_updates()])
        return Counts(steps, updates, self._learner.metrics(), self._node.restarts + self._learner.restarts)

    def _snapshot(self) -> Snapshot:
        tensors = self._learner.tensors()
        tensors |= tensors_of(self._config, self._parent.current.slot)
        return Snapshot(tensors, self._parent.steps, self._learner.updates())

    def _facts(self) -> dict[str, Any]:
        return {"workers": self._node.workers, "learner": 1}

    def _first_update_at(self) -> float | None:
        return self._learner.first_update_at()

    def _shares(self) -> npt.NDArray[np.float64]:
        return self._node.shares()
