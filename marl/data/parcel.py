"""A trajectory as so many bytes, always the same number: what an actor hands to a learner, in shared memory or over a
link.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from marl.data.replay import LAST, WHOLE, trajectory_fields, valid_without
from marl.data.shared import Field, SharedBlock, memory_bytes
from marl.data.trajectory import Trajectory
from marl.errors import MessageRefused

VERSION, NUM_LAST, NUM_PRIORITIES = range(3)  # of the header
BOOLEANS = ("terminated", "truncated", "valid")
LARGEST = torch.finfo(torch.float32).max


class Layout(NamedTuple):
    """Where in a parcel everything lies; both ends make it from the same settings."""

    fields: dict[str, Field]
    num_actions: int  # categories; 0 where actions are vectors
    num_bytes: int

    def open(self, memory: Tensor) -> SharedBlock:
        """The parcel in this memory [num_bytes] of uint8."""
        return SharedBlock(self.fields, memory)


def parcel_layout(
    *,
    length: int,
    environments: int,
    observation: Field,
    action: Field,
    num_actions: int,
    num_parameters: int,
) -> Layout:
    """For trajectories of ``length`` steps in so many environments; ``observation`` and ``action`` are single ones."""
    fields = {
        "header": Field((8,), torch.int64),
        **trajectory_fields(
            length=length,
            environments=environments,
            observation=observation,
            action=action,
            num_parameters=num_parameters,
            max_last=environments,
        ),
        "priorities": Field((length * environments,), torch.float32),
    }
    return Layout(fields, num_actions, memory_bytes(fields))


def pack(parcel: SharedBlock, trajectory: Trajectory, priorities: Tensor | None = None) -> None:
    """Write a trajectory, and what its transitions had to teach the actor, into a parcel.

    What it cannot hold of the last observations of cut episodes becomes invalid, see ``TrajectoryReplay.write``.
    """
    num_last = min(len(trajectory.last_index), len(parcel["last_index"]))
    if num_last < len(trajectory.last_index):
        trajectory = trajectory._replace(valid=valid_without(trajectory, trajectory.last_index[num_last:]))
    for name in WHOLE:
        parcel[name].copy_(getattr(trajectory, name))
    for name in LAST:
        parcel[name][:num_last].copy_(getattr(trajectory, name)[:num_last])
    num_priorities = 0 if priorities is None else len(priorities)
    if priorities is not None:
        parcel["priorities"][:num_priorities].copy_(priorities)
    header = parcel["header"]
    header[VERSION], header[NUM_LAST], header[NUM_PRIORITIES] = trajectory.version, num_last, num_priorities


def unpack(parcel: SharedBlock) -> tuple[Trajectory, Tensor]:
    """The trajectory and the priorities in a parcel, which share its memory."""
    version, num_last, num_priorities = parcel["header"][:3].tolist()
    tensors = {name: parcel[name] for name in WHOLE} | {name: parcel[name][:num_last] for name in LAST}
    return Trajectory(**tensors, version=version), parcel["priorities"][:num_priorities]


def check(parcel: SharedBlock, layout: Layout) -> None:
    """Whether what came from elsewhere can be a trajectory.

    Raises:
        MessageRefused: something in it cannot be.
    """
    version, num_last, num_priorities = parcel["header"][:3].tolist()
    most, size = len(parcel["last_index"]), len(parcel["priorities"])
    if version < 0 or not 0 <= num_last <= most or not 0 <= num_priorities <= size:
        raise MessageRefused(
            f"a trajectory says version {version}, {num_last} cut episodes, {num_priorities} priorities"
        )
    for name in BOOLEANS:
        if int(parcel[name].view(torch.uint8).max()) > 1:
            raise MessageRefused(f"a trajectory's {name}: expected bytes of 0 and 1")
    if num_last and not within(parcel["last_index"][:num_last], 0, size - 1):
        raise MessageRefused("a trajectory has a cut episode outside its steps")
    if layout.num_actions and not within(parcel["actions"], 0, layout.num_actions - 1):
        raise MessageRefused(f"a trajectory has an action that is none of {layout.num_actions}")
    numbers = [parcel[name] for name in ("observations", "rewards", "behaviour", "actions")]
    for tensor in (*numbers, parcel["last_observations"][:num_last]):
        if tensor.is_floating_point() and tensor.numel() and not within(tensor, -LARGEST, LARGEST):
            raise MessageRefused("a trajectory has a number that is not finite")
    if num_priorities and not within(parcel["priorities"][:num_priorities], 0, LARGEST):
        raise MessageRefused("a trajectory has a priority that is negative or not finite")


def within(tensor: Tensor, low: float, high: float) -> bool:
    """Whether all numbers lie there; NaN lies nowhere. One pass, no temporary."""
    least, most = torch.aminmax(tensor)
    return low <= least.item() and most.item() <= high


def num_steps(parcel: SharedBlock) -> int:
    """Transitions in a parcel."""
    return int(parcel["valid"].sum())
