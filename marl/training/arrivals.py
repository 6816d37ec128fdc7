"""Trajectories that arrived for a learner, in batches: where its loop gets what a worker plays itself."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.acting.collect import Episodes
from marl.data.layout import Layout, mapped
from marl.data.node.trajectory_queue import LearnerQueue
from marl.data.replay.rollout import num_steps, unpack
from marl.data.shared import SharedBlock
from marl.data.trajectory import LAST, STEPS, WHOLE, Trajectory
from marl.networks.contract import Acts


class Arrivals:
    """A ``Source`` of trajectories for the learner's loop. Call ``wait`` before each ``collect``."""

    def __init__(
        self, block: SharedBlock, layout: Layout, *, batch: int, max_staleness: int, device: torch.device
    ) -> None:
        self._queue = LearnerQueue(block)
        self._version: npt.NDArray[np.int64] = block["version"].numpy()
        self._stop: npt.NDArray[np.uint8] = block["stop"].numpy()
        self._rollouts = [layout.open(memory) for memory in block["trajectory_queue"].unbind()]
        self._batch, self._max_staleness, self._device = batch, max_staleness, device
        self._in_hand: list[int] = []
        self.priorities = torch.zeros(0)  # of the last trajectory, as its actors computed them

    def wait(self) -> bool:
        """Give the last batch back, then wait for the next one. False if the learner is to stop."""
        for number in self._in_hand:
            self._queue.give_back(number)
        self._in_hand = []
        while len(self._in_hand) < self._batch:
            if self._stop[0]:
                return False
            if (taken := self._queue.take()) is None:
                time.sleep(0.0002)  # the parent shares no lock with a process that may be killed
                continue
            # A trajectory from before a resume may have a version that this run has not reached yet.
            if 0 <= int(self._version[0]) - int(self._rollouts[taken]["header"][0]) <= self._max_staleness:
                self._in_hand.append(taken)
            else:
                self._queue.drop(taken)  # at once: others wait for its place
        return True

    def collect(self, unused_network: Acts, version: int) -> tuple[Trajectory, Episodes]:
        """The batch as one trajectory of more environments. Its episodes and seconds are reported by the actors."""
        rollouts = [self._rollouts[number] for number in self._in_hand]
        opened = [unpack(rollout) for rollout in rollouts]
        for trajectory, _ in opened:
            self._queue.count(version - trajectory.version)
        steps = sum(num_steps(rollout) for rollout in rollouts)
        self.priorities = torch.cat([priorities for _, priorities in opened])
        joined = side_by_side([trajectory for trajectory, _ in opened])
        tensors = {name: mapped(self._to_device, getattr(joined, name)) for name in (*WHOLE, *LAST)}
        return Trajectory(**tensors, version=joined.version, burn_in=joined.burn_in), Episodes(
            np.zeros(0), np.zeros(0, np.int64), steps, 0.0
        )

    def _to_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device)


def side_by_side(trajectories: list[Trajectory]) -> Trajectory:
    """Join trajectories of equal length into one, with all their environments. Its version is the oldest of theirs."""
    if len(trajectories) == 1:
        return trajectories[0]
    counts = [each.rewards.shape[1] for each in trajectories]
    width, offset, index = sum(counts), 0, []
    for each, count in zip(trajectories, counts, strict=True):
        index.append(each.last_index // count * width + each.last_index % count + offset)
        offset += count

    def joined(name: str, dim: int) -> Any:
        values = [getattr(each, name) for each in trajectories]
        return mapped(lambda *tensors: torch.cat(tensors, dim), *values)

    return Trajectory(
        **{name: joined(name, 1) for name in STEPS},
        state=joined("state", 0),
        last_observations=joined("last_observations", 0),
        last_index=torch.cat(index),
        version=min(each.version for each in trajectories),
        burn_in=trajectories[0].burn_in,
    )
