"""The optimizer's moments at a child: uploaded with the weights, and moved to the mean of all children.

Workers make steps while a mean is under way. Each step leaves a part of the old moments, its decay, and adds a part of
a gradient. So a difference that was true k steps ago is added as what those steps have left of it: the moments are then
those that the mean would have become by the same steps, and mean squares stay at 0 or more. An upload that was not
merged moves nothing: the child's moments describe its own gradients, and go into the next mean.

The step counter corrects the bias of moments that began at 0. A child keeps its own, but never has less than the middle
child: one that joins, or has lost its optimizer's state, takes over the counter with the mean.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from marl.data.shared import SharedBlock
from marl.exchanges.merging.moments import NAME, STEPS
from marl.training.optimizers import Moment
from marl.wire.header import Header
from marl.wire.message import Message, Value, count_of


class ChildMoments:
    """Those of ``moments``; with none of them it does nothing."""

    def __init__(self, block: SharedBlock, moments: Sequence[Moment]) -> None:
        self._state, self._count, self._moments = block["optimizer"], block["optimizer_steps"], moments
        shape = (len(moments), self._state.shape[1])
        self._snapshot, self._mean = torch.zeros(shape), torch.zeros(shape)
        self._snapshot_steps = self._mean_steps = 0
        self._known = False  # whether ``_mean`` holds a whole mean

    def upload(self, info: dict[str, Value]) -> dict[str, Tensor]:
        """Take a snapshot. Returns the array that an upload needs besides; ``info`` gets the number of steps."""
        if not self._moments:
            return {}
        self._snapshot_steps = int(self._count)
        for copy, each in zip(self._snapshot, self._moments, strict=True):
            copy.copy_(self._state[each.row])
        info[STEPS] = self._snapshot_steps
        return {NAME: self._snapshot}

    def expected(self, header: Header) -> dict[str, Tensor]:
        """Where a mean goes, if the message has one: none is known before the first round."""
        if not self._moments or all(entry.name != NAME for entry in header.manifest):
            return {}
        self._known = False  # until it has arrived whole
        return {NAME: self._mean}

    def receive(self, broadcast: Message) -> None:
        """A broadcast has come, and is used."""
        if NAME in broadcast.arrays and self._moments:
            self._known, self._mean_steps = True, count_of(broadcast, STEPS)

    def merged(self, *, exactly: bool) -> None:
        """The last upload was merged: move on to the mean.

        Args:
            exactly: workers rest since the snapshot.
        """
        if not self._known:
            return
        steps = max(0, int(self._count) - self._snapshot_steps)
        for mean, snapshot, each in zip(self._mean, self._snapshot, self._moments, strict=True):
            vector = self._state[each.row]
            if exactly:
                vector.copy_(mean)
                continue
            vector.add_(torch.sub(mean, snapshot, out=snapshot), alpha=each.decay**steps)
            if each.squared:
                vector.clamp_(min=0)  # rounding, and workers that write at the same time
        self._count.clamp_(min=self._mean_steps)

    def start_over(self) -> None:
        """Give up the optimizer's state, for the last mean if there is one."""
        self._state.zero_()
        self._count.zero_()
        if self._known:
            for mean, each in zip(self._mean, self._moments, strict=True):
                self._state[each.row].copy_(mean)
            self._count.fill_(self._mean_steps)
