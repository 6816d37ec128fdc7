"""Reports the numbers of a run: a status for files, progress for the live display."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from marl.cluster.planning.model import Reference
from marl.cluster.trainers.trainer import Episodes as EndedEpisodes
from marl.cluster.trainers.trainer import Trainer
from marl.data.node.metrics import SKIPPED_UPDATES
from marl.reports.events import ChildRow, Episodes, Progress, Status
from marl.reports.meter import NO_SPEED, Meter
from marl.reports.pace import Pace, Speed
from marl.reports.stream import Stream

SHOWN_OVER_S = 10.0  # window of the speed on the screen

Steps = npt.NDArray[np.int64]  # [M] of each worker, or of each child


class StatusReporter:
    """Hands the trainer's numbers to the meter, and the meter's status to the events."""

    def __init__(
        self,
        trainer: Trainer,
        meter: Meter,
        events: Stream,
        seconds: Callable[[], float],
        reference: Reference | None = None,
    ) -> None:
        """
        Args:
            seconds: returns the seconds of training, over all resumes.
            reference: what the speed-up is measured against; None: none is told.
        """
        self._reference = reference
        self._trainer, self._meter, self._events, self._seconds = trainer, meter, events, seconds
        self._shown, self._recorded = Pace(seconds(), window_s=SHOWN_OVER_S), Pace(seconds())
        self._over = False
        self._told_skipped = self._told_outside = False
        self._ended: list[EndedEpisodes] = []
        self._rows: Sequence[ChildRow] | None = None  # as they were before training ended

    def end(self) -> None:
        """Training has ended: speeds and children's rows stay as they were."""
        self._over = True

    def collect_episodes(self) -> None:
        """Hand finished episodes to the meter."""
        returns, lengths = self._trainer.episodes()
        if len(returns):
            steps = int(self._trainer.counts().steps.sum())
            self._meter.add_episodes(returns, lengths, steps=steps, seconds=self._seconds())
            self._ended.append((returns, lengths))

    def status(self) -> Status:
        """The newest numbers, without speeds."""
        return self._status(lambda unused: NO_SPEED)

    def show(self) -> None:
        """Tell progress."""
        if not self._over:
            self._rows = self._trainer.rows()
        status = self._status(self._shown_speed)
        self._events.on(Progress(seconds=status.seconds, steps=status.steps, status=status, children=self._rows or ()))

    def record(self) -> None:
        """Tell the status, and the episodes since the last time."""
        self._events.on(self._status(lambda steps: self._measured(self._recorded, steps)))
        if self._ended:
            returns, lengths = map(np.concatenate, zip(*self._ended, strict=True))
            self._ended.clear()
            self._events.on(Episodes(returns=returns, lengths=lengths))

    def _status(self, speed: Callable[[Steps], Speed]) -> Status:
        counts = self._trainer.counts()
        if counts.metrics.get(SKIPPED_UPDATES) and not self._told_skipped:
            self._told_skipped = True
            self._events.note("a gradient was not finite: its update is skipped, and counted in skipped_updates")
        if counts.first_outside and not self._told_outside:
            self._told_outside = True
            self._events.note(counts.first_outside)
        status = self._meter.update(
            self._seconds(), counts.steps, counts.updates, counts.metrics, counts.restarts, speed(counts.steps)
        )
        reference, speedup, virtual = self._reference, None, self._trainer.virtual_seconds()
        rate = status.steps_per_second if virtual is None else status.steps / virtual if virtual else None
        if reference is not None and rate:
            speedup = reference.speedup(rate)
        return msgspec.structs.replace(status, virtual_seconds=virtual, speedup=speedup)

    def _shown_speed(self, steps: Steps) -> Speed:
        """The speed to show. For children, the sum of their own measurements: their reports come at irregular times."""
        if self._rows is None:
            return self._measured(self._shown, steps)
        rates = tuple(row.steps_per_second for row in self._rows if row.steps_per_second is not None)
        return Speed(sum(rates), rates)

    def _measured(self, pace: Pace, steps: Steps) -> Speed:
        return (pace.hold if self._over else pace.look)(self._seconds(), steps)
