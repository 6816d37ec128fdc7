"""Observations that are the last k frames, oldest first: a frame that lies in several of them is kept once.

A leaf says by its ``frames`` that it is such a stack. In a rollout a pool of frames takes the place of its stacks, and
an order says which frames of the pool each stack has. A step adds one frame. So does the first step of an episode if
its older frames are the same again, or blank, as the first frame of the pool is.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from marl.data.layout import Leaf, Tree, Values, batched, dtype_name, leaves, mapped
from marl.errors import MessageRefused

EPISODE = 16  # steps: where more episodes begin, all with several new frames, these may find no room

Array = npt.NDArray[Any]


class Fold(NamedTuple):
    """Stacks as frames, each of which lies there once."""

    frames: Array  # [N, F]  the first one is blank
    order: Array  # [S, k]  which frames each stack has
    lost: Array  # [S]  stacks for which there was no room


def has_stacks(observation: Tree) -> bool:
    """Whether a leaf of an observation is a stack of frames."""
    return any(leaf.frames for leaf in leaves(observation))


def frame_of(leaf: Leaf) -> Leaf:
    """One frame of a stack, in a row."""
    return Leaf((math.prod(leaf.shape) // leaf.frames,), leaf.dtype, name=leaf.name)


def pool_tree(observation: Tree, *, length: int, environments: int, max_last: int) -> dict[str, Tree]:
    """What a rollout has in place of the observations of T steps in B environments, and of ``max_last`` last ones.

    Args:
        observation: a single one, as the network sees it.
    """
    stacks = (length + 1) * environments + max_last

    def room(leaf: Leaf) -> int:
        return 1 + stacks + (leaf.frames - 1) * environments + length * environments // EPISODE

    def frames(leaf: Leaf) -> Leaf:
        return batched(frame_of(leaf), room(leaf)) if leaf.frames else batched(leaf, length + 1, environments)  # type: ignore[no-any-return]

    def last(leaf: Leaf) -> Leaf:
        return batched(frame_of(leaf), 0) if leaf.frames else batched(leaf, max_last)  # type: ignore[no-any-return]

    def order(leaf: Leaf) -> Leaf:
        return Leaf((stacks, leaf.frames), torch.int32, (room(leaf),)) if leaf.frames else Leaf((0,), torch.int32)

    return {
        "observations": mapped(frames, observation),
        "last_observations": mapped(last, observation),
        "order": mapped(order, observation),
    }


def fold(stacks: Array, last: Array, last_index: Array, *, most: int) -> Fold:
    """Stacks of T + 1 steps and the last ones of cut episodes, with at most so many frames.

    Args:
        stacks: [T + 1, B, k, F]
        last: [K, k, F]
        last_index: [K]  the step at whose end each was seen, in the flattened [T * B]
    """
    steps, count, depth = stacks.shape[:3]
    follows = np.zeros((steps, count), bool)  # the stack before without its oldest frame, and a new one
    for step in range(1, steps):
        follows[step] = shifted(stacks[step - 1], stacks[step])
    new = np.zeros(stacks.shape[:3], bool)
    new[..., -1] = follows
    whole = stacks[~follows]
    blank = ~whole.any(axis=-1)
    differs = np.concatenate([np.ones((len(whole), 1), bool), (whole[:, 1:] != whole[:, :-1]).any(axis=-1)], axis=1)
    new[~follows] = differs & ~blank
    order = np.cumsum(new, dtype=np.int32).reshape(new.shape)  # of a frame that is not new: the one before it
    order[~follows] *= ~blank
    for step in range(1, steps):
        np.copyto(order[step, :, :-1], order[step - 1, :, 1:], where=follows[step][:, None])
    frames = [np.zeros((1, stacks.shape[-1]), stacks.dtype), stacks[new]]
    orders, size = [order.reshape(-1, depth)], 1 + int(np.count_nonzero(new))
    for stack, index in zip(last, last_index.tolist(), strict=True):
        step, environment = divmod(index, count)
        known = order[step, environment, 1:] if shifted(stacks[step, environment], stack) else order[0, 0, :0]
        frames.append(stack[len(known) :])
        orders.append(np.concatenate([known, np.arange(size, size + depth - len(known), dtype=np.int32)])[None])
        size += depth - len(known)
    every = np.concatenate(orders)
    lost = np.asarray((every >= most).any(axis=1))
    every[lost] = 0
    return Fold(np.concatenate(frames)[:most], every, lost)


def fold_into(
    rollout: dict[str, Any], observations: Values, last: Values, last_index: Array
) -> tuple[list[tuple[Array, Array]], Array]:
    """Which arrays belong into which places of a rollout, and which stacks [S] found no room there.

    Raises:
        MessageRefused: the observations are others than the rollout was made for.
    """
    pairs: list[tuple[Array, Array]] = []
    losses: list[Array] = []

    def add(view: Any, last_view: Any, order: Any, values: Any, ends: Any) -> None:
        view, order = np.asarray(view), np.asarray(order)
        if not order.size:
            pairs.extend([(view, values.numpy()), (np.asarray(last_view)[: len(ends)], ends.numpy())])
            return
        depth, size = order.shape[1], view.shape[1]
        for each in (values, ends):
            if each.shape[-1] != depth * size or each.numpy().dtype != view.dtype:
                raise MessageRefused(
                    f"expected stacks of {depth} frames of {size} numbers of {view.dtype}, "
                    f"got {list(each.shape)} of {dtype_name(each.dtype)}"
                )
        split = [each.numpy().reshape(*each.shape[:-1], depth, size) for each in (values, ends)]
        found = fold(split[0], split[1], last_index, most=len(view))
        losses.append(found.lost)
        pairs.extend([(view[: len(found.frames)], found.frames), (order[: len(found.order)], found.order)])

    mapped(add, rollout["observations"], rollout["last_observations"], rollout["order"], observations, last)
    return pairs, np.asarray(np.logical_or.reduce(losses))


def unfold(rollout: dict[str, Any], num_last: int) -> tuple[Values, Values]:
    """The observations [T + 1, B, D] and the last ones [K, D] of a rollout's tensors; of a stack, a copy."""
    length, environments = rollout["rewards"].shape
    count = (length + 1) * environments

    def shown(view: Any, order: Any) -> Any:
        if not order.numel():
            return view
        return view[order[:count].long()].reshape(length + 1, environments, -1)

    def ends(view: Any, last: Any, order: Any) -> Any:
        if not order.numel():
            return last[:num_last]
        return view[order[count : count + num_last].long()].flatten(1)

    pool, order = rollout["observations"], rollout["order"]
    return mapped(shown, pool, order), mapped(ends, pool, rollout["last_observations"], order)


def shifted(before: Array, now: Array) -> Any:
    """Whether stacks [..., k, F] have the frames of those before without the oldest one."""
    return (now[..., :-1, :] == before[..., 1:, :]).all(axis=(-1, -2))
