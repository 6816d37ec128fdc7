"""How fast a run is, as one of its readers sees it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Speed(NamedTuple):
    """Environment steps per second."""

    total: float
    workers: tuple[float, ...]


class Pace:
    """Steps per second since a reader's last look. A look ends the interval, so each reader has a pace of its own.

    pace = Pace()
    while training:
        status = meter.update(..., speed=pace.look(seconds, worker_steps))
    """

    def __init__(self, seconds: float = 0.0) -> None:
        """``seconds``: training time at which counting begins."""
        self._seconds = seconds
        self._steps: npt.NDArray[np.float64] = np.zeros(0)
        self._last: Speed | None = None

    def look(self, seconds: float, worker_steps: npt.NDArray[np.int64]) -> Speed:
        """Measure the interval since the last look, or since counting began.

        Args:
            seconds: training time, over all resumes.
            worker_steps: [workers], each worker's environment steps since this start.
        """
        steps = np.array(worker_steps, np.float64)
        interval = seconds - self._seconds
        if interval <= 0.0:  # two looks at one moment: the speed of the last interval still holds
            return self._last or Speed(0.0, (0.0,) * len(steps))
        before = np.zeros(len(steps))  # a child may have joined
        known = min(len(steps), len(self._steps))
        before[:known] = self._steps[:known]
        rates = np.maximum(steps - before, 0.0) / interval
        self._seconds, self._steps = seconds, steps
        self._last = Speed(float(rates.sum()), tuple(rates.tolist()))
        return self._last

    def hold(self, seconds: float, worker_steps: npt.NDArray[np.int64]) -> Speed:
        """The speed of the last look, for when all has ended; measured now if nobody has looked yet."""
        return self._last or self.look(seconds, worker_steps)
