"""What acting produces and learning consumes."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from marl.data.layout import Leaf, Tree, Values, at, batched, is_empty


class Trajectory(NamedTuple):
    """T steps of B environments, time first."""

    observations: Values  # [T + 1, B, ...]  one more, for bootstrapping: a tensor, or a tree of tensors
    actions: Tensor  # [T, B] integers, or [T, B, A] as the policy drew them, before clipping to the box
    rewards: Tensor  # [T, B]
    terminated: Tensor  # [T, B]  the episode ended: no bootstrap
    truncated: Tensor  # [T, B]  the episode was cut: bootstrap from its true last observation
    valid: Tensor  # [T, B]  False on a reset step (next-step autoreset): in no loss
    last_observations: Values  # [K, ...]  the true final observation of each truncation that needs one
    last_index: Tensor  # [K]  where each belongs in the flattened [T * B]
    behaviour: Tensor  # [T, B, P]  distribution parameters of the policy that acted
    version: int  # the oldest weights that acted
    burn_in: int = 0  # steps at the start that only warm what is remembered: nothing is learned from them
    state: Values = ()  # of tensors [B, ...]: what the network remembered before the first step; (): nothing ever


LAST = ("last_observations", "last_index")
STEPS = tuple(name for name in Trajectory._fields if name not in (*LAST, "version", "burn_in", "state"))  # [T, B, ...]
WHOLE = (*STEPS, "state")


def trajectory_tree(
    *,
    length: int,
    environments: int,
    observation: Tree,
    action: Tree,
    num_parameters: int,
    max_last: int,
    state: Tree = (),
) -> dict[str, Tree]:
    """The tensors of a trajectory, by the names they have in it.

    Args:
        observation: a single one, as the network sees it.
        action: a single one, as the policy draws it.
        max_last: how many last observations of cut episodes there is room for.
        state: what the network remembers of one environment.
    """
    steps = (length, environments)
    return {
        "observations": batched(observation, length + 1, environments),
        "actions": batched(action, *steps),
        "rewards": Leaf(steps, torch.float32),
        "terminated": Leaf(steps, torch.bool),
        "truncated": Leaf(steps, torch.bool),
        "valid": Leaf(steps, torch.bool),
        "last_observations": batched(observation, max_last),
        "last_index": Leaf((max_last,), torch.int64),
        "behaviour": Leaf((*steps, num_parameters), torch.float32),
        "state": batched(state, environments),
    }


def resets_of(trajectory: Trajectory) -> Tensor | None:
    """Before which observations [T + 1, B] an episode began, so that nothing of the one before is remembered; None
    where nothing ever is.

    A step that was a reset saw the last observation of its episode, whose value is worth what was remembered. The state
    at the start is that of an episode already.
    """
    if is_empty(trajectory.state):
        return None
    valid, ended = trajectory.valid, trajectory.terminated | trajectory.truncated
    resets = valid.new_zeros(len(valid) + 1, valid.shape[1])
    resets[1:] = ~valid
    resets[1:-1] |= ended[:-1] & valid[1:]
    return resets


def without_burn_in(trajectory: Trajectory) -> Trajectory:
    """The steps that are learned from, with a state that is still the one before the burn-in."""
    start = trajectory.burn_in
    later = trajectory.last_index >= start * trajectory.rewards.shape[1]
    return trajectory._replace(
        **{name: at(getattr(trajectory, name), slice(start, None)) for name in STEPS},
        last_observations=at(trajectory.last_observations, later),
        last_index=trajectory.last_index[later] - start * trajectory.rewards.shape[1],
        burn_in=0,
    )


def valid_without(trajectory: Trajectory, cuts: Tensor) -> Tensor:
    """``valid`` [T, B] without the steps that lead to these cuts [K], back to the end of the episode before: nothing
    says what they were worth.
    """
    valid = trajectory.valid.numpy().copy()
    ended = (trajectory.terminated | trajectory.truncated).numpy()
    for cut in cuts.tolist():
        step, environment = divmod(cut, valid.shape[1])
        ends_before = np.flatnonzero(ended[:step, environment])
        first = ends_before[-1] + 1 if len(ends_before) else 0
        valid[first : step + 1, environment] = False
    return torch.from_numpy(valid)
