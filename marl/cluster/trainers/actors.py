"""Actors of this machine play for a learner of this machine: the same exchange as with children, over a link in memory.

Worker processes play and never learn; this process joins the two sides of the exchange by two threads, just as a
parent and its children are joined across a network. With the observations exchange one thread is enough, because
neither side waits for the other.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from marl import seeds
from marl.cluster.node import Node
from marl.cluster.statistics import statistics_size
from marl.cluster.trainers.trainer import Counts, Episodes, Given
from marl.errors import LinkError
from marl.exchanges.base import ChildFacts
from marl.exchanges.conversation import confer, converse, report
from marl.exchanges.sides import LearningSide
from marl.links.memory import memory_pair
from marl.processes.cores import count_cores
from marl.reports.events import ChildRow

ACTORS, PARENT = "actors", "parent"
JOIN_S = 2.0  # for the two threads to end
PATIENCE_S = 1e6  # seconds, in effect never: both ends are threads of this process, so neither can be gone alone


class Actors:
    """See ``Players``."""

    local = True

    def __init__(self, given: Given, parent: LearningSide) -> None:
        config, self._given, self._parent = given.config, given, parent
        workers = config.node.workers or max(1, count_cores() - 1)
        parent.assign_rank(ACTORS, 0, workers)
        self._node = Node(config, given.spaces, given.network, given.weights, given.group, workers, alone=False)
        self._node.interval = seeds.first_interval(given.term)
        normalizes = bool(statistics_size(config, given.spaces))
        facts = ChildFacts(
            self._node.block, ACTORS, config, given.spaces, normalizes=normalizes, note=given.events.note
        )
        self._child = config.exchange.child(facts)
        here, there = memory_pair(patience=PATIENCE_S)
        self._links = here, there
        self._over = threading.Event()
        self._errors: list[BaseException] = []
        if config.exchange.at_once:
            both = self._child, parent, self._over
            self._threads = [self._thread("actors", lambda: confer(*both, name=ACTORS))]
            return
        self._threads = [
            self._thread("actors", lambda: report(there, self._child, self._over, name=ACTORS)),
            self._thread("learner", lambda: converse(here, ACTORS, parent, self._over, name=PARENT)),
        ]

    def _thread(self, name: str, target: Callable[[], Any]) -> threading.Thread:
        def run() -> None:
            try:
                target()
            except LinkError as error:
                if not self._over.is_set():
                    self._errors.append(error)
            except BaseException as error:  # the run's loop shows it
                self._errors.append(error)

        return threading.Thread(target=run, name=name, daemon=True)

    def start(self, save: Callable[[], None], began: float) -> None:
        """See ``Players``."""
        for thread in self._threads:
            thread.start()
        while not self._child.started.wait(0.01) and not self._errors:
            pass  # no time-out: the other side is a thread of this process
        self._node.count_from(began)
        self._node.start()

    def stop(self) -> None:
        """See ``Players``."""
        self._over.set()
        self._parent.close()
        self._node.stop()
        for link in self._links:
            link.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(JOIN_S)

    def tend(self) -> None:
        """See ``Players``."""
        if self._errors:
            raise self._errors[0]
        for name in self._node.check(self._given.events.note, self._given.log, "worker"):
            self._node.restart(name)

    def counts(self) -> Counts:
        """See ``Players``."""
        steps, updates = self._node.worker_counts()
        return Counts(steps, updates, self._node.metrics(), self._node.restarts, self._node.first_outside())

    def episodes(self) -> Episodes:
        """See ``Players``."""
        return self._node.episodes()

    def info(self) -> dict[str, Any]:
        """See ``Players``."""
        return {}

    def facts(self) -> dict[str, Any]:
        """See ``Players``."""
        return {"workers": self._node.workers, "learner": 1}

    def leads(self) -> bool:
        """See ``Trainer``. Always true: the run folder is locked for this process."""
        return True

    def never_began(self) -> bool:
        """See ``Trainer``."""
        return False

    def rows(self) -> list[ChildRow] | None:
        """See ``Trainer``."""
        return None

    def shares(self) -> npt.NDArray[Any]:
        """See ``Trainer``."""
        return self._node.shares()
