"""Deterministic mode: points of a run at which all children rest, the run is saved, and decisions are made.

A rest comes at the end of a trajectory, once the environment steps of a checkpoint interval are made, or all steps of
the run. Every child then tells what no round has counted yet, and waits until the parent lets all of them go on. They
begin as after a resume: environments and random numbers are those of the version, rounding errors of children are 0. So
a resumed run has the same bits as one that was not interrupted.
"""

from collections.abc import Callable, Mapping

import torch

from marl.data.layout import Leaf, Tree
from marl.data.node.memory import array
from marl.data.shared import SharedBlock
from marl.exchanges.merging.rest import Rest, WorkerRest, rest_fields
from marl.wire.message import Message, Value


def interval_fields(workers: int) -> dict[str, Tree]:
    """What a node's memory needs."""
    return {**rest_fields(workers), "interval": Leaf((1,), torch.int64)}  # version at the last rest


class IntervalRest:
    """A worker's side: called between trajectories, it waits while the contact asks for it."""

    def __init__(self, block: SharedBlock, worker: int) -> None:
        self._rest, self._interval, self._begun = WorkerRest(block, worker), array(block, "interval"), 0

    def __call__(self) -> int | None:
        """Return when the worker may play on: the number of the interval that begins, or None."""
        self._rest()
        number = int(self._interval[0])
        if number == self._begun:
            return None
        self._begun = number
        return number


class NodeRest(Rest):
    """The contact's side: does with the node's workers what the parent says."""

    def __init__(self, block: SharedBlock, clock: Callable[[], float]) -> None:
        super().__init__(block, clock)
        self._interval = array(block, "interval")

    def obey(self, info: Mapping[str, Value]) -> bool:
        """Bring workers to rest, or let them begin the next interval. Returns whether they do that."""
        if isinstance(number := info.get("interval"), int):
            self._interval[0] = number
        if info.get("rest"):
            self.ask()
        return bool(info.get("rested"))


def missed_answers(answer: Message, term: int, version: int) -> int | None:
    """How many answers a child has missed, by one that has everything; None if that is not all that is to be said.

    Args:
        term: of the parent that the child knows; ``version``: of its weights.
    """
    missed = answer.version - version
    if "weights" not in answer.arrays or answer.info.get("refused") or answer.term != term:
        return None
    return missed if missed in (0, 1) else None
