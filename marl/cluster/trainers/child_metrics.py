"""What children report, added up: for the meter, the curves and the live table."""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from marl.cluster.trainers.trainer import Counts
from marl.data.node.metrics import TOTALS
from marl.exchanges.child_reports import MAX_WORKERS, Report

MAX_NAMES = 64  # of metrics, whatever children say
SPAN = 2.0  # seconds that a speed is measured over
FASTEST = 1e6  # steps, or updates, per second of one worker: no environment is as fast
MOST_RESTARTS = 10.0  # per second of one worker: a process has to start before it can die
HEAD_START_S = 60.0  # seconds added before the first report: the child may have joined earlier

Numbers = npt.NDArray[np.int64]


class Told(NamedTuple):
    """What a child has reported since its last start, as far as it was counted."""

    steps: int = 0
    updates: int = 0
    episodes: int = 0


NOTHING = Told()


class ChildMetrics:
    """One child's numbers, limited to what its workers can have done since the first report."""

    def __init__(self, now: float, told: Told = NOTHING) -> None:
        """``told``: what had already been counted before the parent was resumed."""
        self.steps = self.updates = 0  # over all lives of the child
        self.restarts = 0  # of its workers, since its last start
        self.metrics: dict[str, float] = {}
        self.first_outside = ""
        self.told = told  # since its last start
        self._since = now
        self._played = told.steps  # steps that belong to no reported episode yet
        self._returns: deque[float] = deque(maxlen=100)
        self._speeds: deque[tuple[float, int]] = deque()  # (when, steps)
        self._traffic: deque[tuple[float, int]] = deque()  # (when, bytes of the present link)

    def forget(self) -> None:
        """The child has started again: it counts from 0."""
        self.told = NOTHING

    def hear(self, report: Report, now: float, workers: int = 1) -> tuple[npt.NDArray[np.float64], Numbers]:
        """Add a report. Gives the returns and lengths of its new episodes.

        Args:
            workers: most that can have played at once.
        """
        before = self.told
        worker_seconds = workers * (now - self._since + HEAD_START_S)
        most = int(FASTEST * worker_seconds)
        steps, updates = int(report.steps.sum()), report.updates
        new = max(0, min(steps - before.steps, most - self.steps))
        self.steps += new
        self.updates += max(0, min(updates - before.updates, most - self.updates))
        heard = report.first + len(report.returns)
        self.told = Told(*map(max, before, (steps, updates, heard)))
        self.restarts, self.metrics = min(report.restarts, int(MOST_RESTARTS * worker_seconds)), dict(report.metrics)
        for name in TOTALS:  # each is a step, or an update that was tried
            total = int(min(self.metrics.pop(name, 0.0), most))
            if total > 0:
                self.metrics[name] = float(total)
        self.first_outside = report.first_outside
        self._speeds.append((now, self.steps))
        self._played += new
        return self._new_episodes(report, before.episodes)

    def _new_episodes(self, report: Report, heard: int) -> tuple[npt.NDArray[np.float64], Numbers]:
        """The report's episodes that were not reported before and that can have been played."""
        new = slice(max(0, heard - report.first), None)
        returns, lengths = report.returns[new], report.lengths[new]
        possible = np.maximum(lengths, 1).astype(np.float64).cumsum() <= self._played
        returns, lengths = returns[possible], lengths[possible]
        self._played -= int(np.maximum(lengths, 1).sum())
        self._returns.extend(returns[-100:].tolist())
        return returns, lengths

    def steps_per_second(self, now: float) -> float:
        """The speed over the last ``SPAN`` seconds."""
        return _rate(self._speeds, now)

    def return_mean(self) -> float | None:
        """The mean return of the last 100 episodes; None if there are none."""
        return sum(self._returns) / len(self._returns) if self._returns else None

    def bytes_per_second(self, total: int, now: float) -> float:
        """The traffic over the last ``SPAN`` seconds. ``total``: bytes of the link so far."""
        if self._traffic and total < self._traffic[-1][1]:
            self._traffic.clear()  # another link
        self._traffic.append((now, total))
        return _rate(self._traffic, now)


def _rate(points: "deque[tuple[float, int]]", now: float) -> float:
    while len(points) > 2 and points[1][0] < now - SPAN:
        points.popleft()
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return 0.0
    return (points[-1][1] - points[0][1]) / (max(now, points[-1][0]) - points[0][0])


class ChildrenMetrics:
    """All children's numbers; reports come from the threads of their conversations."""

    def __init__(self, told: Mapping[str, Sequence[int]] | None = None) -> None:
        """``told``: in a resumed run, the ``state`` of the parent before."""
        self._before = {child: Told(*numbers) for child, numbers in (told or {}).items()}
        self._lock = threading.Lock()  # guards everything
        self._closed = False
        self._children: dict[str, ChildMetrics] = {}
        self._workers: dict[str, int] = {}  # most that each child can have had at once
        self._episodes: dict[str, list[tuple[npt.NDArray[np.float64], Numbers]]] = {}
        # As of the last call of ``counts``, and of ``episodes``.
        self._counted = dict(self._before)
        self._collected = {child: told.episodes for child, told in self._before.items()}

    def assign(self, child: str, workers: int) -> None:
        """Set how many workers of a child can play at once. This number limits what the child may report."""
        with self._lock:  # keep the largest number: the steps of earlier workers still count
            self._workers[child] = max(self._workers.get(child, 1), min(workers, MAX_WORKERS))

    def hear(self, child: str, report: Report) -> int:
        """Add a child's report. Returns how many of its episodes were reported in all."""
        with self._lock:
            now = time.monotonic()
            metrics = self._children.get(child)
            if metrics is None:
                metrics = self._children[child] = ChildMetrics(now, self._before.pop(child, NOTHING))
            if self._closed:
                return metrics.told.episodes
            episodes = metrics.hear(report, now, self._workers.get(child, 1))
            if len(episodes[0]):
                self._episodes.setdefault(child, []).append(episodes)
            return metrics.told.episodes

    def close(self) -> None:
        """Ignore later reports: then the numbers that are saved are also those that are printed afterwards."""
        with self._lock:
            self._closed = True

    def forget(self, child: str) -> None:
        """The child has started again: it counts from 0."""
        with self._lock:
            self._before.pop(child, None)
            self._collected.pop(child, None)
            if child in self._children:
                self._children[child].forget()

    def state(self) -> dict[str, Told]:
        """What each child had reported when ``counts`` and ``episodes`` were last called."""
        return {child: told._replace(episodes=self._collected.get(child, 0)) for child, told in self._counted.items()}

    def episodes(self, children: Sequence[str | None]) -> tuple[npt.NDArray[np.float64], Numbers]:
        """Returns and lengths of the episodes reported since the last call: first of ``children``,
        in this order, then of all others.
        """
        with self._lock:
            order = [*(child or "" for child in children), *sorted(self._episodes.keys() - set(children))]
            taken = [each for child in order for each in self._episodes.pop(child, [])]
            self._collected |= {child: each.told.episodes for child, each in self._children.items()}
        if not taken:
            return np.zeros(0), np.zeros(0, np.int64)
        return np.concatenate([returns for returns, _ in taken]), np.concatenate([lengths for _, lengths in taken])

    def of(self, child: str | None) -> ChildMetrics | None:
        """One child's numbers."""
        with self._lock:
            return self._children.get(child or "")

    def counts(self, children: list[str | None]) -> Counts:
        """All counts so far: one entry for each of ``children``, in this order, then one for each other child."""
        with self._lock:
            found = [self._children.get(child or "") or ChildMetrics(0.0) for child in children]
            found += [metrics for child, metrics in self._children.items() if child not in children]
            all_metrics = [each.metrics for each in self._children.values() if each.metrics]
            restarts = sum(each.restarts for each in self._children.values())
            words = [f"{child}: {each.first_outside}" for child, each in self._children.items() if each.first_outside]
            self._counted = self._before | {child: each.told for child, each in self._children.items()}
        metrics = joined(all_metrics)
        steps = np.array([each.steps for each in found], np.int64)
        updates = np.array([each.updates for each in found], np.int64)
        return Counts(steps, updates, metrics, restarts, words[0] if words else "")


def joined(told: Sequence[dict[str, float]]) -> dict[str, float]:
    """Metrics of several children as one: sums for ``TOTALS``, else means over the children that have the metric."""
    names = list(dict.fromkeys(name for each in told for name in each))[:MAX_NAMES]
    by_name = {name: [each[name] for each in told if name in each] for name in names}
    return {name: float(sum(each) if name in TOTALS else np.mean(each)) for name, each in by_name.items()}
