"""What a child's workers have done that no merged upload holds: environment steps and statistics of observations."""

from typing import NamedTuple

import torch
from torch import Tensor

from marl.data.node.memory import STEPS, array
from marl.data.normalizer import RunningStatistics, as_row, merge, subtract
from marl.data.shared import SharedBlock


class Pending(NamedTuple):
    """An upload that is not followed by a broadcast yet."""

    counter: int
    work: int  # environment steps
    statistics: RunningStatistics  # of all observations until then


class Unmerged:
    """Counts work from the last merged upload on, so that nothing is lost with an upload that is not merged."""

    def __init__(self, block: SharedBlock) -> None:
        self._steps, self._observations = array(block, "counters")[:, STEPS], array(block, "observations")[1:]
        self._base_work = 0  # steps that were merged or given up
        self._base_statistics: RunningStatistics | None = None  # likewise

    def work(self) -> int:
        """Environment steps since the last merged upload."""
        return int(self._steps.sum()) - self._base_work

    def until_now(self, counter: int) -> Pending:
        """What the upload of this number holds."""
        return Pending(counter, self.work(), merge(self._observations))

    def statistics(self, upload: Pending) -> Tensor:
        """The statistics of the observations since the last merged upload."""
        return torch.from_numpy(as_row(subtract(upload.statistics, self._base_statistics)))

    def merged(self, upload: Pending) -> None:
        """An upload was merged: the next one begins where it ended."""
        self._base_work += upload.work
        self._base_statistics = upload.statistics

    def give_up(self) -> None:
        """Nothing until now will be uploaded."""
        self._base_work = int(self._steps.sum())
        self._base_statistics = merge(self._observations)
