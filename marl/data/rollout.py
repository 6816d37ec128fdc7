"""A serialised trajectory, always the same number of bytes: what an actor hands to a learner, in shared memory or over
a link, and what a replay keeps.
"""

from typing import Any

import torch
from torch import Tensor

from marl.data.layout import Layout, Leaf, Tree, demand_sound, mapped, within
from marl.data.trajectory import LAST, WHOLE, Trajectory, trajectory_tree, valid_without
from marl.errors import MessageRefused
from marl.failpoints import fail

VERSION, NUM_LAST, NUM_PRIORITIES = range(3)  # of the header
LARGEST = torch.finfo(torch.float32).max

Views = dict[str, Any]  # of one serialised rollout


def rollout_tree(
    *, length: int, environments: int, observation: Tree, action: Tree, num_parameters: int, priorities: bool = True
) -> dict[str, Tree]:
    """Of trajectories of ``length`` steps in this many environments.

    An episode is seldom cut twice within a trajectory: there is room for one last observation of each environment.

    Args:
        observation: a single one, as the network sees it.
        action: a single one, as the policy draws it.
        priorities: whether those of the transitions travel along.
    """
    return {
        "header": Leaf((8,), torch.int64),
        **trajectory_tree(
            length=length,
            environments=environments,
            observation=observation,
            action=action,
            num_parameters=num_parameters,
            max_last=environments,
        ),
        "priorities": Leaf((length * environments * priorities,), torch.float32),
    }


def pack(rollout: Views, trajectory: Trajectory, priorities: Tensor | None = None) -> None:
    """Write a trajectory, and the priorities of its transitions, into a rollout's views.

    More last observations than there is room for are left out: the part of the episode before such a cut becomes
    invalid, since nothing says what it was worth.
    """
    num_last = min(len(trajectory.last_index), len(rollout["last_index"]))
    if num_last < len(trajectory.last_index):
        trajectory = trajectory._replace(valid=valid_without(trajectory, trajectory.last_index[num_last:]))
    num_priorities = 0 if priorities is None else len(priorities)
    header = rollout["header"]
    header[VERSION], header[NUM_LAST], header[NUM_PRIORITIES] = trajectory.version, num_last, num_priorities
    for name in WHOLE:
        mapped(Tensor.copy_, rollout[name], getattr(trajectory, name))
        fail("rollout.packing")
    for name in LAST:
        mapped(lambda view, value: view[:num_last].copy_(value[:num_last]), rollout[name], getattr(trajectory, name))
    if priorities is not None:
        rollout["priorities"][:num_priorities].copy_(priorities)


def unpack(rollout: Views) -> tuple[Trajectory, Tensor]:
    """The trajectory and the priorities, which share the rollout's memory."""
    version, num_last, num_priorities = rollout["header"][:3].tolist()
    tensors = {name: rollout[name] for name in WHOLE}
    tensors |= {name: mapped(lambda view: view[:num_last], rollout[name]) for name in LAST}
    return Trajectory(**tensors, version=version), rollout["priorities"][:num_priorities]


def check(rollout: Views, layout: Layout) -> None:
    """Whether what came from elsewhere can be a trajectory.

    Raises:
        MessageRefused: something in it cannot be.
    """
    version, num_last, num_priorities = rollout["header"][:3].tolist()
    most, size = len(rollout["last_index"]), len(rollout["priorities"])
    if version < 0 or not 0 <= num_last <= most or not 0 <= num_priorities <= size:
        raise MessageRefused(
            f"a trajectory says version {version}, {num_last} cut episodes, {num_priorities} priorities"
        )
    trajectory, priorities = unpack(rollout)
    if not within(trajectory.last_index, 0, rollout["rewards"].numel() - 1):
        raise MessageRefused("a trajectory has a cut episode outside its steps")
    for name in (*WHOLE, "last_observations"):
        demand_sound(layout.tree[name], getattr(trajectory, name), "a trajectory has")
    if not within(priorities, 0, LARGEST):
        raise MessageRefused("a trajectory has a priority that is negative or not finite")


def num_steps(rollout: Views) -> int:
    """Transitions in a rollout."""
    return int(rollout["valid"].sum())
