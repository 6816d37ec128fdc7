"""A learner process of this machine learns from what players send: actors of this machine, or children."""

import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from marl import seeds
from marl.cluster.learner import LearnerNode
from marl.cluster.snapshot import Snapshot
from marl.cluster.statistics import tensors_of
from marl.cluster.trainers.players import Players
from marl.cluster.trainers.trainer import Counts, Episodes, Given, Trainer
from marl.data.node.metrics import OUTSIDE_OBSERVATIONS
from marl.errors import ConfigError, MarlError, WorkerFailed
from marl.exchanges.run import replay_ratio
from marl.exchanges.sides import LearningSide
from marl.exchanges.virtual_time import RoundTimer
from marl.reports.events import ChildRow
from marl.words import saved

# A run that ends before its learner has learned anything waits this long for the first update, and looks so often.
FIRST_S, TICK = 2.0, 0.02


class Learning(Trainer):
    """See ``Trainer``."""

    def __init__(
        self, given: Given, learner: LearnerNode, side: LearningSide, players: Players, timer: RoundTimer | None = None
    ) -> None:
        """
        Args:
            side: the parent's side of the exchange, between the learner and its players.
            timer: counts its rounds in virtual time; None: nobody asks for that.
        """
        self._timer = timer
        self._given, self._learner, self._side, self._players = given, learner, side, players
        self._base_steps, self._version = side.steps, 0

    def start(self, save: Callable[[], None], began: float) -> None:
        """See ``Trainer``."""
        self._learner.start(began)
        self._players.start(save, began)

    def stop(self) -> None:
        """See ``Trainer``."""
        if self._players.local:
            self._learner.stop()  # first: while the threads of the actors end, no more trajectories arrive
        self._players.stop()
        self._learner.stop()

    def tend(self) -> bool:
        """See ``Trainer``."""
        try:
            if self._side.failure is not None:
                raise self._side.failure
            self._players.tend()
        except (Exception, SystemExit) as error:
            of_network = error is self._side.failure and not isinstance(error, ConfigError)
            if isinstance(error, WorkerFailed) and not of_network:
                raise WorkerFailed(f"{error}{saved(self._learner.updates())}") from error
            if isinstance(error, MarlError) and not of_network:
                raise
            self._given.log(traceback.format_exc())
            what = "the network cannot decide" if of_network else "actors and learner cannot go on"
            raise WorkerFailed(f"{what} ({type(error).__name__}: {error}){saved(self._learner.updates())}") from error
        self._learner.check(self._given.events.note, self._given.log)
        self._learner.progress(self._side.steps)
        return False

    def await_first_update(self, stopped: threading.Event) -> None:
        """See ``Trainer``."""
        if not self._may_learn():
            return
        if self._players.local:
            self._players.stop()  # they have played all that was asked for
        deadline = time.monotonic() + FIRST_S
        while self._may_learn() and time.monotonic() < deadline:
            self._given.group.wait(TICK)
            if stopped.is_set():  # before any look at the learner: a signal to the whole group ends it as well
                return
            self.tend()

    def _may_learn(self) -> bool:
        """Whether the first update is still to come, and enough has arrived for it."""
        if self._learner.updates():
            return False
        config = self._given.config
        batch, ratio = config.exchange.learner_plan().batch, replay_ratio(config)
        batches = self._learner.arrived() // batch
        if not config.algorithm.from_transitions:
            return batches * (ratio or 1.0) >= 1.0
        steps = batches * batch * config.exchange.rows(config) * config.algorithm.t_max
        return steps >= max(config.replay.start, config.replay.batch_size)

    def steps(self) -> int:
        """See ``Trainer``."""
        return self._side.steps

    def counts(self) -> Counts:
        """See ``Trainer``."""
        played = self._players.counts()
        restarts = played.restarts + self._learner.restarts
        updates, metrics = np.array([self._learner.own_updates()]), self._learner.metrics()
        if OUTSIDE_OBSERVATIONS in played.metrics:
            metrics[OUTSIDE_OBSERVATIONS] = played.metrics[OUTSIDE_OBSERVATIONS]
        if self._players.local:
            return Counts(played.steps, updates, metrics, restarts, played.first_outside)
        # These are the steps that arrived. The children's reports may be older, or still be on their way.
        steps = np.array([self._side.steps - self._base_steps])
        metrics["refused"] = float(self._side.refused)
        return Counts(steps, updates, metrics, restarts, played.first_outside)

    def episodes(self) -> Episodes:
        """See ``Trainer``."""
        return self._players.episodes()

    def snapshot(self) -> Snapshot:
        """See ``Trainer``."""
        # The version and the weights belong together: the learner publishes both at once. The weights in its own memory
        # may be between two versions.
        # The optimizer's state is copied from that memory, after the weights. Once the learner has stopped, it is of
        # the same version. While the learner runs, it may be newer than the weights, and some of its numbers
        # newer than others, as with workers that share it without locks. With a device it may be ``STATE_EVERY_S``
        # older than the weights.
        current = self._side.current
        self._version = current.version
        tensors = {"weights": current.weights, **self._learner.optimizer_state()}
        tensors |= tensors_of(self._given.config, current.statistics)
        return Snapshot(tensors, current.steps, self._learner.updates())

    def info(self) -> dict[str, Any]:
        """See ``Trainer``."""
        virtual = {} if self._timer is None else {"virtual_seconds": self._timer.seconds}
        return {"epoch": self._side.term, "version": self._version, **self._players.info(), **virtual}

    def facts(self) -> dict[str, Any]:
        """See ``Trainer``."""
        return self._players.facts()

    def leads(self) -> bool:
        """See ``Trainer``."""
        return self._players.leads()

    def never_began(self) -> bool:
        """See ``Trainer``."""
        return self._players.never_began()

    def rows(self) -> list[ChildRow] | None:
        """See ``Trainer``."""
        return self._players.rows()

    def first_update_at(self) -> float | None:
        """See ``Trainer``."""
        return self._learner.first_update_at()

    def virtual_seconds(self) -> float | None:
        """See ``Trainer``: when the last round was learned from."""
        return None if self._timer is None else self._timer.seconds

    def shares(self) -> npt.NDArray[np.float64]:
        """See ``Trainer``."""
        return self._players.shares()


def make_learner(given: Given, *, children: int) -> LearnerNode:
    """A learner with the initial weights; in a resumed run, with the state in the checkpoint."""
    learner = LearnerNode(given.config, given.spaces, given.network, given.weights, given.group, children=children)
    learner.interval = seeds.first_interval(given.term)
    if given.resumed is not None:
        before = Snapshot(given.resumed.tensors, int(given.info["steps"]), int(given.info["updates"]))
        learner.restore(before, int(given.info.get("version", 0)))
    return learner
