"""What children report, added up: for the meter, the curves and the live table."""

import threading
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from marl.cluster.training import Counts
from marl.exchanges.telemetry import Report

SPAN = 2.0  # seconds that a speed is measured over


class Tally:
    """One child's numbers."""

    def __init__(self, *, counted_before: bool = False) -> None:
        """``counted_before``: what the first report says was counted by the parent that this one resumes."""
        self.steps = self.updates = self.restarts = 0  # over all lives of the child
        self.metrics: dict[str, float] = {}
        self._life = np.zeros(2, np.int64)  # steps and updates of its present life
        self._counted_before = counted_before
        self._returns: deque[float] = deque(maxlen=100)
        self._speeds: deque[tuple[float, int]] = deque()  # (when, steps)
        self._traffic: deque[tuple[float, int]] = deque()  # (when, bytes of the present link)

    def hear(self, report: Report, now: float) -> None:
        """Take a report."""
        life = np.array([int(report.steps.sum()), report.updates])
        if self._counted_before:
            self._counted_before, self._life = False, life
        if (life < self._life).any():  # it started anew
            self._life = np.zeros(2, np.int64)
        self.steps += int(life[0] - self._life[0])
        self.updates += int(life[1] - self._life[1])
        self._life = life
        self.restarts, self.metrics = report.restarts, report.metrics
        self._returns.extend(report.returns.tolist())
        self._speeds.append((now, self.steps))

    def steps_per_second(self, now: float) -> float:
        """Over the last seconds."""
        return _rate(self._speeds, now)

    def return_mean(self) -> float | None:
        """Of the last 100 episodes."""
        return sum(self._returns) / len(self._returns) if self._returns else None

    def bytes_per_second(self, total: int, now: float) -> float:
        """Over the last seconds, ``total`` being the bytes of the link so far."""
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


class Tallies:
    """All children's numbers; reports come from the threads of their conversations."""

    def __init__(self, *, resumed: bool = False) -> None:
        """``resumed``: children may have reported to another parent before."""
        self._resumed = resumed
        self._lock = threading.Lock()  # guards everything
        self._children: dict[str, Tally] = {}
        self._episodes: dict[str, list[tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]]] = {}

    def hear(self, child: str, report: Report) -> None:
        """Take a child's report."""
        with self._lock:
            if child not in self._children:
                self._children[child] = Tally(counted_before=self._resumed)
            self._children[child].hear(report, time.monotonic())
            if len(report.returns):
                self._episodes.setdefault(child, []).append((report.returns, report.lengths))

    def episodes(self, children: Sequence[str | None]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Returns and lengths of the episodes reported since the last call: of these children in this order, then of
        those that are no longer among them.
        """
        with self._lock:
            order = [*(child or "" for child in children), *sorted(self._episodes.keys() - set(children))]
            taken = [each for child in order for each in self._episodes.pop(child, [])]
        if not taken:
            return np.zeros(0), np.zeros(0, np.int64)
        return np.concatenate([returns for returns, _ in taken]), np.concatenate([lengths for _, lengths in taken])

    def of(self, child: str | None) -> Tally | None:
        """One child's numbers."""
        with self._lock:
            return self._children.get(child or "")

    def counts(self, children: list[str | None]) -> Counts:
        """Everything counted so far, a place for each child in this order, then for those no longer among them."""
        with self._lock:
            found = [self._children.get(child or "") or Tally() for child in children]
            found += [tally for child, tally in self._children.items() if child not in children]
            all_metrics = [each.metrics for each in self._children.values() if each.metrics]
            restarts = sum(each.restarts for each in self._children.values())
        names = all_metrics[0] if all_metrics else {}
        metrics = {name: float(np.mean([each[name] for each in all_metrics if name in each])) for name in names}
        steps = np.array([each.steps for each in found], np.int64)
        return Counts(steps, np.array([each.updates for each in found], np.int64), metrics, restarts)
