"""One machine's share of the work: M workers over one block of memory, watched and restarted."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from marl.cluster.memory_demand import replay_memory
from marl.cluster.snapshot import LEARNED, Snapshot, put_back
from marl.cluster.statistics import statistics_size
from marl.cluster.worker import IntervalEnd, Job, work
from marl.config.settings import Config
from marl.data.node.memory import BUSY, FIRST_UPDATE, STEPS, UPDATES, array, node_memory, ring
from marl.data.node.metrics import first_outside, read_metrics
from marl.data.normalizer import as_row, merge
from marl.data.ring import Ring
from marl.data.spaces import Spaces
from marl.errors import MarlError, WorkerFailed
from marl.processes.group import Failure, ProcessGroup
from marl.training.flat import num_parameters
from marl.training.saved.weights_file import copy_exactly
from marl.words import saved

# What a snapshot saves, so that a run continues as if it had not stopped. All other counts start at 0 again.
STATISTICS = ("observations", "rewards")
SAVED = (*LEARNED, *STATISTICS)
# What an environment raises soon after a start may come at each start; what comes after so long is rare.
LONG_SERVICE_S = 600.0


class Node:
    """Owns the memory, the workers and what is known of them."""

    def __init__(
        self,
        config: Config,
        spaces: Spaces,
        network: nn.Module,
        weights: Tensor,
        group: ProcessGroup,
        workers: int,
        *,
        child: int = 0,
        children: int = 1,
        alone: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            network: holds the initial weights; ``weights`` [N] are the same numbers as one vector.
            child: this node's rank among ``children``.
            alone: it has no parent.
            clock: tells seconds.
        """
        self.config, self.workers = config, workers
        self._child, self._children, self._alone = child, children, alone
        self.restarts = 0
        self._counted = 0  # restarts that count towards max_restarts
        self._learning = STEPS if config.exchange.learner else UPDATES  # grows while a worker is healthy
        self._updates_at_start = [0] * workers
        self._clock, self._started_at = clock, [0.0] * workers
        self.interval = 0  # number of the next checkpoint interval that a worker begins
        self._group = group
        self._deterministic = config.deterministic and alone
        self.block = node_memory(
            num_weights=len(weights),
            num_parameters=num_parameters(network),
            observation_size=(0 if alone else statistics_size(config, spaces)) or spaces.measured_size,
            workers=workers,
            more={
                **replay_memory(config, spaces, network, workers),
                **config.exchange.memory(config, spaces, network, workers),
            },
        )
        self.block["weights"].copy_(weights)
        self._base_updates = 0
        self._rings: list[Ring] = [ring(self.block, worker) for worker in range(workers)]

    def count_from(self, began: float) -> None:
        """Schedules by time count from here; ``began``: see ``Trainer.start``. Before ``start``, and later as well."""
        self.block["began"].fill_(began)

    def start(self) -> None:
        """Start all workers."""
        for worker in range(self.workers):
            self._start(worker)
        if not self._deterministic:
            self.interval += 1

    def stop(self) -> None:
        """Tell the workers to end; the group waits for them."""
        self.block["stop"].fill_(1)

    def check(self, warn: Callable[[str], None], trace: Callable[[str], None], beginning: str = "") -> list[str]:
        """Names of the processes that died, if they start with ``beginning``. The caller must ``restart`` the workers.

        Raises:
            WorkerFailed: more died than ``node.max_restarts`` allows, a worker could not even begin, or its
            environment does not keep to its spaces.
        """
        died = self._group.check(beginning)
        for name, failure in died:
            if failure.trace:
                trace(failure.trace)
            hopeless = is_worker(name) and (failure.repeats or (failure.permanent and self._played(name) == 0))
            if not self._alone and is_worker(name) and self._served(name, failure):
                self._counted = 0  # a child serves for weeks: only deaths in a row, without service in between, count
            if self._counted >= self.config.node.max_restarts or hopeless:
                raise _gave_up(name, failure, self.restarts, updates=self.updates() if self._alone else 0)
            self.restarts += 1
            self._counted += 1
            warn(f"{name} died ({failure.text}) and is started again")
        return [name for name, _ in died]

    def restart(self, name: str) -> None:
        """Start a worker in the place of one that died; it plays on from fresh episodes."""
        self._start(_rank(name))
        if not self._deterministic:
            self.interval += 1

    def _served(self, name: str, failure: Failure) -> bool:
        """Whether the worker has made an update since its start, and lived for long if its environment failed."""
        rank = _rank(name)
        learned = int(array(self.block, "counters")[rank, self._learning]) > self._updates_at_start[rank]
        return learned and (not failure.permanent or self._clock() - self._started_at[rank] >= LONG_SERVICE_S)

    def _played(self, name: str) -> int:
        return int(array(self.block, "counters")[_rank(name), STEPS])

    def _start(self, worker: int) -> None:
        self._started_at[worker] = self._clock()
        self._updates_at_start[worker] = int(array(self.block, "counters")[worker, self._learning])
        self._group.start(f"worker {worker}", work, self._job(worker), self.block, may_end=self._may_end)

    def _may_end(self) -> bool:
        """Whether workers may end: they were told to, or this node has no parent and they have played enough."""
        limit = self.config.stop.steps if self._alone else None
        return bool(self.block["stop"][0]) or (limit is not None and self.steps() >= limit)

    def _job(self, worker: int) -> Job:
        return Job(self.config, worker, self.interval, self._child, self._alone, self.workers, self._children)

    def waiting(self) -> list[IntervalEnd]:
        """Ends of checkpoint intervals, from deterministic workers; each such worker waits for ``answer``."""
        if not self._deterministic:
            return []
        messages = [self._group.receive(name) for name in self._group.members if is_worker(name)]
        return [message for message in messages if isinstance(message, IntervalEnd)]

    def answer(self, go_on: bool) -> None:
        """Let the workers that wait begin their next checkpoint interval, or end."""
        if not go_on:
            self.stop()
        for name in self._group.members:
            if is_worker(name):
                self._group.send(name, go_on)

    def steps(self) -> int:
        """Environment steps, those of resumed runs included."""
        return int(self.block["base_steps"][0]) + int(array(self.block, "counters")[:, STEPS].sum())

    def updates(self) -> int:
        """Optimizer steps, likewise."""
        return self._base_updates + int(array(self.block, "counters")[:, UPDATES].sum())

    def worker_counts(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Steps and updates of each worker in this run."""
        counters = array(self.block, "counters")
        return counters[:, STEPS].copy(), counters[:, UPDATES].copy()

    def metrics(self) -> dict[str, float]:
        """Losses and other metrics, as means over the workers, and the totals that are not 0."""
        return read_metrics(self.block)

    def first_outside(self) -> str:
        """The first observation that was outside its space, in words; nothing if there was none."""
        return first_outside(self.block)

    def shares(self) -> npt.NDArray[np.float64]:
        """Seconds [M, 3] of each worker: acting; the part of acting inside the environment's step; learning."""
        return array(self.block, "seconds")[:, :3].copy()

    def busy_seconds(self) -> float:
        """The longest that a worker has played and learned, with ``clock.virtual``."""
        return float(array(self.block, "seconds")[:, BUSY].max())

    def first_update_at(self) -> float | None:
        """time.time() of the first optimizer step of any worker; None before it."""
        times = array(self.block, "seconds")[:, FIRST_UPDATE]
        return float(times[times > 0].min()) if (times > 0).any() else None

    def episodes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Returns and lengths of the episodes that ended since the last call."""
        rows = np.concatenate([each.drain() for each in self._rings])
        return rows[:, 0], rows[:, 1].astype(np.int64)

    def snapshot(self) -> Snapshot:
        """A copy of what is learned; the workers do not wait."""
        tensors = {name: self.block[name].clone() for name in SAVED}
        for name in STATISTICS:
            tensors[name] = torch.from_numpy(as_row(merge(tensors[name].numpy())))[None]
        return Snapshot(tensors, self.steps(), self.updates())

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot, with all workers stopped or waiting."""
        put_back(snapshot, self.block, self.config.optimizer)
        self.fold_statistics(snapshot)
        self.block["counters"].zero_()
        self.block["base_steps"].fill_(snapshot.steps)
        self._base_updates = snapshot.updates

    def fold_statistics(self, snapshot: Snapshot) -> None:
        """Move all statistics into row 0, as a resumed run does: sums in another order would have other bits."""
        for name in STATISTICS:
            copy_exactly(self.block[name][:1], snapshot.tensors.get(name), f"the checkpoint's {name}")
            self.block[name][1:].zero_()


def is_worker(name: str) -> bool:
    """Whether a process of the group is one of the workers."""
    return name.startswith("worker")


def _rank(name: str) -> int:
    return int(name.removeprefix("worker "))


def _gave_up(name: str, failure: Failure, restarts: int, *, updates: int) -> MarlError:
    after = f" after {restarts} restarts" if restarts else ""
    return WorkerFailed(f"{failure.text} ({name}{after}{saved(updates)})")


def snapshot_from(tensors: dict[str, Tensor], info: dict[str, Any]) -> Snapshot:
    """The snapshot in a checkpoint's tensors."""
    return Snapshot(
        {name: tensors[name] for name in SAVED if name in tensors}, int(info["steps"]), int(info["updates"])
    )
