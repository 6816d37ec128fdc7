"""Rows of a replay that hold whole sequences: what a network that remembers learns from.

A row is one environment's part of a trajectory, with what the network remembered before its first step (Kapturowski et
al., "Recurrent Experience Replay in Distributed Reinforcement Learning", 2019: the stored state).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from marl.data.layout import Leaf, Tree, Values, batched, mapped
from marl.data.trajectory import Trajectory, valid_without

NONE = -1  # in ``last_step``


class Sequences(NamedTuple):
    """N sequences of T steps."""

    observations: Values  # [N, T + 1, ...]
    actions: Tensor  # [N, T] integers
    rewards: Tensor  # [N, T]
    terminated: Tensor  # [N, T]
    truncated: Tensor  # [N, T]
    valid: Tensor  # [N, T]  False on a reset step, and where nothing says what a step was worth
    last_observations: Values  # [N, ...]  the true last observation of an episode that was cut
    last_step: Tensor  # [N]  after which step that is; NONE: it is in ``observations``, or no episode was cut
    state: Values  # [N, ...]  what the network remembered before the first step
    versions: Tensor  # [N]  the weights that acted


def sequence_tree(*, length: int, observation: Tree, action: Tree, state: Tree) -> dict[str, Tree]:
    """One row; ``observation``, ``action`` and ``state`` describe a single one."""
    return {
        "observations": batched(observation, length + 1),
        "actions": batched(action, length),
        "rewards": Leaf((length,), torch.float32),
        "terminated": Leaf((length,), torch.bool),
        "truncated": Leaf((length,), torch.bool),
        "valid": Leaf((length,), torch.bool),
        "last_observations": observation,
        "last_step": Leaf((), torch.int64),
        "state": state,
        "versions": Leaf((), torch.int64),
    }


def sequences_of(trajectory: Trajectory) -> Sequences:
    """A trajectory's environments as rows. There is room for one last observation in each. Of an environment whose
    episodes were cut more often, the steps before the other cuts become invalid.
    """
    width = trajectory.rewards.shape[1]
    steps, rows = (trajectory.last_index // width).tolist(), (trajectory.last_index % width).tolist()
    kept = dict(zip(rows, range(len(rows)), strict=True))  # the last cut of each row
    if len(kept) < len(rows):
        others = [number for number in range(len(rows)) if kept[rows[number]] != number]
        trajectory = trajectory._replace(valid=valid_without(trajectory, trajectory.last_index[others]))
    last_step = trajectory.last_index.new_full((width,), NONE)
    for row, number in kept.items():
        last_step[row] = steps[number]

    def last_of(seen: Tensor, last: Tensor) -> Tensor:
        found = torch.zeros_like(seen[0])
        found[list(kept)] = last[list(kept.values())]
        return found

    return Sequences(
        observations=_turned(trajectory.observations),
        actions=_turned(trajectory.actions),
        rewards=_turned(trajectory.rewards),
        terminated=_turned(trajectory.terminated),
        truncated=_turned(trajectory.truncated),
        valid=_turned(trajectory.valid),
        last_observations=mapped(last_of, trajectory.observations, trajectory.last_observations),
        last_step=last_step,
        state=trajectory.state,
        versions=last_step.new_full((width,), trajectory.version),
    )


def trajectory_of(rows: Sequences) -> Trajectory:
    """The inverse: each row is an environment of one trajectory."""
    width = len(rows.last_step)
    cut = (rows.last_step != NONE).nonzero().squeeze(1)
    rewards = _turned(rows.rewards)
    return Trajectory(
        observations=_turned(rows.observations),
        actions=_turned(rows.actions),
        rewards=rewards,
        terminated=_turned(rows.terminated),
        truncated=_turned(rows.truncated),
        valid=_turned(rows.valid),
        last_observations=mapped(lambda last: last[cut], rows.last_observations),
        last_index=rows.last_step[cut] * width + cut,
        behaviour=rewards.new_empty(*rewards.shape, 0),  # no use is made of it
        version=int(rows.versions.min()) if width else 0,
        state=rows.state,
    )


def _turned(values: Values) -> Any:
    """Rows first in place of time first, or the other way round."""
    return mapped(lambda each: each.transpose(0, 1), values)
