"""What a worker tells about itself: its own rows of shared memory, written once a trajectory."""

import time
from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

from marl.acting.collect import Episodes
from marl.data.node.memory import (
    ACTING,
    FIRST_UPDATE,
    LEARNING,
    OUTSIDE,
    RING_ROWS,
    SKIPPED,
    STEPPING,
    STEPS,
    UPDATES,
    array,
    ring,
)
from marl.data.node.metrics import MetricsRow, tell_outside
from marl.data.shared import SharedBlock
from marl.training.schedule_length import ScheduleLength

EVERY = 8  # updates between two readings of the metrics: turning tensors into numbers takes time


class Telemetry:
    """Counters, times, metrics and finished episodes of one worker; nobody else writes them, so nobody waits."""

    def __init__(
        self,
        block: SharedBlock,
        worker: int,
        schedule: ScheduleLength,
        *,
        alone: bool = True,
        updates: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            alone: only this node plays; otherwise the parent counts the steps of the whole cluster.
            updates: most updates of a trajectory: its steps count while it is learned from, with each update as many;
                0: they count at the end.
            clock: the one that the block's "began" is a moment of.
        """
        self._all_counters = array(block, "counters")
        self._counters = self._all_counters[worker]
        self._seconds = array(block, "seconds")[worker]
        self._metrics = MetricsRow(block, worker)
        self._first_outside = array(block, "first_outside")[worker]
        self._ring = ring(block, worker)
        self._base_steps = array(block, "base_steps")
        self._version = array(block, "version")
        self._began = array(block, "began")
        self._schedule_steps, self._schedule_seconds = schedule.steps, 60.0 * schedule.minutes
        self._clock = clock
        self._alone, self._updates = alone, updates
        self._to_come = 0  # updates of the trajectory, at most
        self._uncounted = self._counted = 0  # its steps

    def version(self) -> int:
        """Version of the global weights."""
        return int(self._version[0])

    def steps(self) -> int:
        """Environment steps of all workers and of all runs that this one resumes; in a cluster, those merged so far."""
        own = int(self._all_counters[:, STEPS].sum()) if self._alone else 0
        return int(self._base_steps[0]) + own

    def updates(self) -> int:
        """Optimizer steps of this worker."""
        return int(self._counters[UPDATES])

    def progress(self) -> float:
        """How much of the schedule is done, 0 to 1; 0 where there is none. By steps and time, the larger one counts."""
        done = self.steps() / self._schedule_steps if self._schedule_steps else 0.0
        if self._schedule_seconds:
            done = max(done, (self._clock() - float(self._began[0])) / self._schedule_seconds)
        return min(1.0, done)

    def collected(self, steps: int) -> None:
        """A trajectory was played, and is to be learned from."""
        self._to_come, self._uncounted = self._updates, steps

    def is_learning(self) -> bool:
        """Whether more updates of this trajectory may come; False where its steps count at the end."""
        return self._to_come > 0

    def _count_part(self) -> None:
        """Count the steps that one update stands for."""
        if not self._to_come:
            return
        part = -(-self._uncounted // self._to_come)
        self._counters[STEPS] += part
        self._counted += part
        self._uncounted -= part
        self._to_come -= 1

    def updated(self, metrics: Mapping[str, Tensor], norm: float, rate: float) -> None:
        """One optimizer step was made."""
        self._count_part()
        self._counters[UPDATES] += 1
        if not self._seconds[FIRST_UPDATE]:
            self._seconds[FIRST_UPDATE] = time.time()
        if self._counters[UPDATES] % EVERY == 1:
            self._metrics.write({**metrics, "gradient_norm": norm, "learning_rate": rate})

    def skipped(self) -> None:
        """One optimizer step was skipped, because its gradient was not finite."""
        self._count_part()
        self._counters[SKIPPED] += 1

    def played(self, episodes: Episodes, acting: float, learning: float) -> None:
        """One trajectory was played, in ``acting`` seconds, and learned from, in ``learning`` seconds."""
        self._counters[STEPS] += episodes.steps - self._counted
        self._to_come = self._counted = 0
        if episodes.outside:
            self._counters[OUTSIDE] += episodes.outside
            tell_outside(self._first_outside, episodes.first_outside)
        self._seconds[STEPPING] += episodes.seconds
        self._seconds[ACTING] += acting
        self._seconds[LEARNING] += learning
        if len(episodes.returns):
            rows = np.column_stack([episodes.returns, episodes.lengths]).astype(np.float64)
            self._ring.write(rows[-RING_ROWS:])
