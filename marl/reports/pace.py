"""How fast a run is, as one of its readers sees it."""

from collections import deque
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt


class Speed(NamedTuple):
    """Environment steps per second."""

    total: float
    workers: tuple[float, ...]


_Look: TypeAlias = tuple[float, npt.NDArray[np.float64]]  # training time, and each worker's steps


class Pace:
    """Steps per second since a reader's last look, or over its last looks. Each reader has a pace of its own.

    pace = Pace()
    while training:
        status = meter.update(..., speed=pace.look(seconds, worker_steps))
    """

    def __init__(self, seconds: float = 0.0, *, window_s: float = 0.0) -> None:
        """
        Args:
            seconds: training time at which counting begins.
            window_s: at least so long is looked back, as far as there were looks. Steps are counted when a trajectory
                ends: where that takes seconds, shorter intervals have none, or a thousand.
        """
        self._window_s = window_s
        self._looks: deque[_Look] = deque([(seconds, np.zeros(0))])
        self._last: Speed | None = None

    def look(self, seconds: float, worker_steps: npt.NDArray[np.int64]) -> Speed:
        """Measure the interval since the last look, or the window, or since counting began.

        Args:
            seconds: training time, over all resumes.
            worker_steps: [workers], each worker's environment steps since this start.
        """
        steps = np.array(worker_steps, np.float64)
        if seconds <= self._looks[-1][0]:  # two looks at one moment: the speed of the last interval still holds
            return self._last or Speed(0.0, (0.0,) * len(steps))
        while len(self._looks) > 1 and self._looks[1][0] <= seconds - self._window_s:
            self._looks.popleft()
        began, earlier = self._looks[0]
        before = np.zeros(len(steps))  # a child may have joined
        known = min(len(steps), len(earlier))
        before[:known] = earlier[:known]
        rates = np.maximum(steps - before, 0.0) / (seconds - began)
        self._looks.append((seconds, steps))
        self._last = Speed(float(rates.sum()), tuple(rates.tolist()))
        return self._last

    def hold(self, seconds: float, worker_steps: npt.NDArray[np.int64]) -> Speed:
        """The speed of the last look, for when all has ended; measured now if nobody has looked yet."""
        return self._last or self.look(seconds, worker_steps)
