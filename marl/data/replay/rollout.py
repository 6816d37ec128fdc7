"""A serialised trajectory, always the same number of bytes: what an actor hands to a learner, in shared memory or over
a link, and what a replay keeps.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.data.layout import Layout, Leaf, Tree, Values, header_of, is_empty, mapped
from marl.data.replay.stacks import fold_into, has_stacks, pool_tree, unfold
from marl.data.sound import compare, demand_sound, within
from marl.data.trajectory import LAST, WHOLE, Trajectory, trajectory_tree, valid_without
from marl.errors import MessageRefused
from marl.failpoints import fail

VERSION, NUM_LAST, NUM_PRIORITIES, BURN_IN = range(4)  # of the header
LARGEST = torch.finfo(torch.float32).max
CLAIM = "a trajectory has"  # of what is refused
SEEN = ("observations", "last_observations")

Array = npt.NDArray[Any]
Views = dict[str, Any]  # of one serialised rollout; packed into arrays or tensors, unpacked from tensors


def rollout_tree(
    *,
    length: int,
    environments: int,
    observation: Tree,
    action: Tree,
    num_parameters: int,
    priorities: bool = True,
    state: Tree = (),
) -> dict[str, Tree]:
    """Of trajectories of ``length`` steps in this many environments.

    An episode is seldom cut twice within a trajectory: there is room for one last observation of each environment.

    Args:
        observation: a single one, as the network sees it.
        action: a single one, as the policy draws it.
        priorities: whether those of the transitions travel along.
        state: what the network remembers of one environment.
    """
    stacks = {"length": length, "environments": environments, "max_last": environments}
    return {
        "header": Leaf((8,), torch.int64),
        **trajectory_tree(
            **stacks,
            observation=observation,
            action=action,
            num_parameters=num_parameters,
            state=state,
        ),
        **(pool_tree(observation, **stacks) if has_stacks(observation) else {"order": ()}),
        "priorities": Leaf((length * environments * priorities,), torch.float32),
    }


def pack(rollout: Views, trajectory: Trajectory, priorities: Tensor | None = None) -> None:
    """Write a trajectory, and the priorities of its transitions, into a rollout's views.

    More last observations than there is room for are left out: the part of the episode before such a cut becomes
    invalid, since nothing says what it was worth.

    Raises:
        MessageRefused: shapes or types are others than the rollout was made for.
    """
    num_last = min(len(trajectory.last_index), len(rollout["last_index"]))
    if num_last < len(trajectory.last_index):
        trajectory = trajectory._replace(valid=valid_without(trajectory, trajectory.last_index[num_last:]))
    num_priorities = 0 if priorities is None else len(priorities)
    pairs: list[tuple[Array, Array]] = []  # small arrays are copied faster by numpy than by torch
    stacked = not is_empty(rollout["order"])
    whole, last = (tuple(name for name in names if not (stacked and name in SEEN)) for names in (WHOLE, LAST))

    def add(view: Any, value: Tensor) -> None:
        pairs.append((np.asarray(view), value.numpy()))

    if stacked:
        seen = trajectory.observations, mapped(lambda rows: rows[:num_last], trajectory.last_observations)
        pairs, lost = fold_into(rollout, *seen, trajectory.last_index[:num_last].numpy())
        trajectory = trajectory._replace(valid=_valid_without_lost(trajectory, lost))
    for name in whole:
        mapped(add, rollout[name], getattr(trajectory, name))
    for name in last:
        mapped(lambda view, value: add(view[:num_last], value[:num_last]), rollout[name], getattr(trajectory, name))
    if any(place.shape != array.shape or place.dtype != array.dtype for place, array in pairs):
        came = trajectory._asdict()
        compare(*(header_of(_comparable(values, whole, last)) for values in (rollout, came)))
    if priorities is not None:
        add(rollout["priorities"][:num_priorities], priorities)
    header = rollout["header"]
    header[VERSION], header[NUM_LAST], header[NUM_PRIORITIES] = trajectory.version, num_last, num_priorities
    header[BURN_IN] = trajectory.burn_in
    for place, array in pairs:
        place[...] = array
        fail("rollout.packing")


def _comparable(values: Values, whole: Sequence[str], last: Sequence[str]) -> Values:
    """How many last observations there are is not fixed."""
    return {name: values[name] for name in whole} | {name: mapped(lambda rows: rows[:0], values[name]) for name in last}


def _valid_without_lost(trajectory: Trajectory, lost: Array) -> Tensor:
    """``valid`` [T, B] without the environments of which an observation [S] found no room."""
    steps, count = trajectory.valid.shape
    shown, ends = np.split(lost, [(steps + 1) * count])
    without: Array = np.asarray(shown.reshape(steps + 1, count).any(axis=0))
    without[trajectory.last_index[: len(ends)].numpy()[ends] % count] = True
    return trajectory.valid & ~torch.from_numpy(without)


def unpack(rollout: Views) -> tuple[Trajectory, Tensor]:
    """The trajectory and the priorities, which share the rollout's memory, but for stacks of frames."""
    version, num_last, num_priorities, burn_in = rollout["header"][:4].tolist()
    tensors = {name: rollout[name] for name in WHOLE}
    tensors |= {name: mapped(lambda view: view[:num_last], rollout[name]) for name in LAST}
    if not is_empty(rollout["order"]):
        tensors |= dict(zip(SEEN, unfold(rollout, num_last), strict=True))
    return Trajectory(**tensors, version=version, burn_in=burn_in), rollout["priorities"][:num_priorities]


def check(rollout: Views, layout: Layout) -> None:
    """Whether what came from elsewhere can be a trajectory.

    Raises:
        MessageRefused: something in it cannot be.
    """
    version, num_last, num_priorities, burn_in = rollout["header"][:4].tolist()
    most, size = len(rollout["last_index"]), len(rollout["priorities"])
    if version < 0 or not 0 <= num_last <= most or not 0 <= num_priorities <= size:
        raise MessageRefused(
            f"a trajectory says version {version}, {num_last} cut episodes, {num_priorities} priorities"
        )
    if not 0 <= burn_in < len(rollout["rewards"]):
        raise MessageRefused(f"a trajectory of {len(rollout['rewards'])} steps says {burn_in} steps of burn-in")
    if not within(rollout["last_index"][:num_last], 0, rollout["rewards"].numel() - 1):
        raise MessageRefused("a trajectory has a cut episode outside its steps")
    for name in (*WHOLE, "order"):
        demand_sound(layout.tree[name], rollout[name], CLAIM)
    last = mapped(lambda view: view[:num_last], rollout["last_observations"])
    demand_sound(layout.tree["last_observations"], last, CLAIM)
    if not within(rollout["priorities"][:num_priorities], 0, LARGEST):
        raise MessageRefused("a trajectory has a priority that is negative or not finite")


def num_steps(rollout: Views) -> int:
    """Transitions in a rollout, but for those that the one before has, too."""
    return int(rollout["valid"][int(rollout["header"][BURN_IN]) :].sum())
