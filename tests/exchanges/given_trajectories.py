"""A worker that learns from trajectories of the test."""

from collections.abc import Callable, Sequence

import numpy as np

from marl.acting.collect import Episodes
from marl.data.trajectory import Trajectory
from marl.networks.contract import Acts


class Given:
    """See ``Source``: these trajectories, one after another."""

    def __init__(self, trajectories: Sequence[Trajectory], between: Callable[[int], None]) -> None:
        self._given, self._played, self._between = list(trajectories), 0, between

    def begin(self, interval: int) -> None:
        """Which of them is next depends on nothing that was played before."""
        self._played = interval

    def collect(self, unused_network: Acts, unused_version: int) -> tuple[Trajectory, Episodes]:
        self._between(self._played)
        self._played += 1
        found = self._given[(self._played - 1) % len(self._given)]
        return found, Episodes(np.zeros(0), np.zeros(0, np.int64), int(found.valid.sum()), 0.0)
