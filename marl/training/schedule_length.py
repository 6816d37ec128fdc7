"""How long a schedule is, such as that of the learning rate."""

from typing import NamedTuple

from marl.algorithms.base import Algorithm
from marl.reports.settings import StopSettings


class ScheduleLength(NamedTuple):
    """In steps, in time, or both; 0: that does not count. With both, the one that is further on counts."""

    steps: int = 0  # environment steps of all children
    minutes: float = 0.0  # of training


def schedule_length(algorithm: Algorithm, stop: StopSettings) -> ScheduleLength:
    """What the algorithm's settings say; if they say nothing, until the steps or the minutes end the run."""
    if algorithm.schedule_steps or algorithm.schedule_minutes:
        return ScheduleLength(algorithm.schedule_steps, algorithm.schedule_minutes)
    return ScheduleLength(stop.steps or 0, stop.minutes or 0.0)
