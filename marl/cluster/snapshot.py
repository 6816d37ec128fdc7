"""A copy of what was learned at one moment, to be evaluated, saved or restored."""

from typing import NamedTuple

from torch import Tensor

from marl.data.normalizer import RunningStatistics, merge
from marl.data.shared import SharedBlock
from marl.errors import WeightsFileError
from marl.training.optimizers import OptimizerSettings, can_go_on
from marl.training.saved.weights_file import copy_exactly

LEARNED = (
    "weights",
    "optimizer",
    "optimizer_steps",
)  # by updates: in the memory of a node and in snapshots


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


def put_back(snapshot: Snapshot, block: SharedBlock, settings: OptimizerSettings) -> None:
    """Copy what updates have changed into a node's memory.

    Raises:
        WeightsFileError: it is missing, of another shape, or no optimizer can go on from it.
    """
    for name in LEARNED:
        copy_exactly(block[name], snapshot.tensors.get(name), f"the checkpoint's {name}")
    if not can_go_on(settings, block["optimizer"], block["optimizer_steps"]):
        raise WeightsFileError(
            "the checkpoint's optimizer: expected mean squares and a count of at least 0, got less: use --init"
        )
