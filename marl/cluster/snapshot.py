"""A copy of what was learned at one moment, to be evaluated, saved or restored."""

from typing import NamedTuple

from torch import Tensor

from marl.data.normalizer import RunningStatistics, merge
from marl.data.shared import SharedBlock
from marl.errors import WeightsFileError
from marl.training.optimizers import OptimizerSettings, can_go_on
from marl.training.saved.weights_file import copy_exactly

OPTIMIZER = ("optimizer", "optimizer_steps")
LEARNED = ("weights", *OPTIMIZER)  # what updates change: names in a node's memory and in snapshots


class Snapshot(NamedTuple):
    """A copy of all that learning has produced."""

    tensors: dict[str, Tensor]  # "weights" and whatever else is needed to go on; "observations" [1, C]: statistics
    steps: int
    updates: int

    def statistics(self) -> RunningStatistics | None:
        """The statistics of observations; None if there are none."""
        if "observations" not in self.tensors:
            return None
        merged = merge(self.tensors["observations"].numpy())
        return merged if merged.count else None


def put_back(snapshot: Snapshot, block: SharedBlock, settings: OptimizerSettings) -> None:
    """Copy weights and optimizer state from a snapshot into a node's memory.

    Raises:
        WeightsFileError: a tensor is missing or has another shape, or the optimizer cannot continue from its state.
    """
    for name in LEARNED:
        copy_exactly(block[name], snapshot.tensors.get(name), f"the checkpoint's {name}")
    if not can_go_on(settings, block["optimizer"], block["optimizer_steps"]):
        raise WeightsFileError(
            "the checkpoint's optimizer: expected mean squares and a count of at least 0, got less: use --init"
        )
