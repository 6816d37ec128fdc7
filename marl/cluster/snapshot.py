"""A copy of what was learned at one moment, to be evaluated, saved or restored."""

from typing import NamedTuple

from torch import Tensor

from marl.data.normalizer import RunningStatistics, merge


class Snapshot(NamedTuple):
    """A copy of all that learning has produced."""

    tensors: dict[str, Tensor]  # "weights" and whatever else is needed to go on; "observations" [1, C]: statistics
    steps: int
    updates: int

    def statistics(self) -> RunningStatistics | None:
        """Of observations; None where none were gathered."""
        if "observations" not in self.tensors:
            return None
        merged = merge(self.tensors["observations"].numpy())
        return merged if merged.count else None
