"""Workers of this machine play and learn: one node, no parent."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from marl.cluster.node import Node, snapshot_from
from marl.cluster.snapshot import Snapshot
from marl.cluster.trainers.trainer import Counts, Episodes, Given, Pause, Trainer
from marl.exchanges.run import replay_ratio
from marl.processes.cores import count_cores


class Workers(Trainer):
    """See ``Trainer``."""

    def __init__(self, given: Given) -> None:
        config = given.config
        self._given, self._deterministic = given, config.deterministic
        workers = 1 if config.deterministic else config.node.workers or count_cores()
        if config.deterministic and replay_ratio(config):  # no interval can be repeated: a replay is not saved
            config = replace(config, node=replace(config.node, max_restarts=0))
        self._node = Node(config, given.spaces, given.network, given.weights, given.group, workers)
        seen = None if given.initial is None else given.initial.tensors.get("normalizer")
        if seen is not None and config.environment.normalize_observations:
            self._node.block["observations"][:1].copy_(seen)
        if given.resumed is not None:
            self._node.restore(snapshot_from(given.resumed.tensors, given.resumed.info))
            self._node.interval = int(given.resumed.info["segment"])
        self._last_saved = self._node.snapshot()  # a deterministic worker that dies begins again from this

    def start(self, save: Callable[[], None], began: float) -> None:
        """See ``Trainer``."""
        self._node.count_from(began)
        self._node.start()

    def stop(self) -> None:
        """See ``Trainer``."""
        self._node.stop()

    def tend(self) -> bool:
        """See ``Trainer``. A deterministic worker that died repeats its checkpoint interval from the last snapshot.
        Every run with this seed has the same snapshot there.
        """
        died = self._node.check(self._given.events.note, self._given.log, "worker")
        goes_back = bool(died) and self._deterministic
        if goes_back:
            self._node.restore(self._last_saved)
            self._node.episodes()
        for name in died:
            self._node.restart(name)
        return goes_back

    def pause(self) -> Pause | None:
        """See ``Trainer``: a checkpoint interval is over."""
        for end in self._node.waiting():
            self._node.interval = end.interval
            return Pause(end.interval, self._proceed)
        return None

    def _proceed(self, go_on: bool) -> None:
        self._node.fold_statistics(self._last_saved)
        self._node.answer(go_on)

    def saved(self, snapshot: Snapshot) -> None:
        """See ``Trainer``."""
        self._last_saved = snapshot

    @property
    def resumable(self) -> bool:
        """See ``Trainer``: a deterministic run is saved at the ends of checkpoint intervals, nowhere else."""
        return not self._deterministic

    def steps(self) -> int:
        """See ``Trainer``."""
        return self._node.steps()

    def counts(self) -> Counts:
        """See ``Trainer``."""
        steps, updates = self._node.worker_counts()
        return Counts(steps, updates, self._node.metrics(), self._node.restarts, self._node.first_outside())

    def episodes(self) -> Episodes:
        """See ``Trainer``."""
        return self._node.episodes()

    def snapshot(self) -> Snapshot:
        """See ``Trainer``."""
        return self._node.snapshot()

    def info(self) -> dict[str, Any]:
        """See ``Trainer``."""
        virtual = self.virtual_seconds()
        return {"segment": self._node.interval} | ({} if virtual is None else {"virtual_seconds": virtual})

    def facts(self) -> dict[str, Any]:
        """See ``Trainer``."""
        return {"workers": self._node.workers}

    def first_update_at(self) -> float | None:
        """See ``Trainer``."""
        return self._node.first_update_at()

    def virtual_seconds(self) -> float | None:
        """See ``Trainer``: the longest that a worker was busy. They do not wait for each other."""
        if not self._given.config.clock.virtual:
            return None
        return self._given.virtual_before + self._node.busy_seconds()

    def shares(self) -> npt.NDArray[np.float64]:
        """See ``Trainer``."""
        return self._node.shares()
