"""The shapes that a network has to fit: gymnasium's spaces as trees, and reduced to numbers that survive a file."""

import math
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from gymnasium import spaces as gym_spaces

from marl.data.layout import Leaf, Tree, Values, batched, mapped
from marl.errors import EnvironmentFault


class Spaces(NamedTuple):
    """Observation and action space of one environment, as plain numbers."""

    observation_shape: tuple[int, ...]
    num_actions: int  # categories of a Discrete space; 0 if continuous
    action_shape: tuple[int, ...]  # of a Box space; () if discrete
    action_start: int  # a Discrete space may begin above 0
    action_low: tuple[float, ...]  # flat bounds of a Box space, infinite where unbounded
    action_high: tuple[float, ...]
    observation_dtype: str = "float32"  # or "uint8": pixels stay bytes wherever they lie or travel
    observation_wide: bool = False  # the environment's have more digits than that: normalised before they are narrowed

    @property
    def observation_size(self) -> int:
        """How many numbers one observation has."""
        return math.prod(self.observation_shape)

    def zeros(self, *leading: int) -> Values:
        """Blank observations [..., D], flat, as the environment has them."""
        return mapped(lambda leaf: torch.zeros(leaf.shape, dtype=leaf.dtype), batched(self.observation(), *leading))

    @property
    def raw(self) -> Tree:
        """One observation, as it is held until it has been normalised."""
        dtype = "float64" if self.observation_wide else self.observation_dtype
        return Leaf(self.observation_shape, getattr(torch, dtype), name="observations")

    def observation(self, *, normalized: bool = False) -> Tree:
        """One observation in a row, as the network sees it; pixels stay bytes, but not once they are normalised."""
        dtype = "float32" if normalized else self.observation_dtype
        return Leaf((self.observation_size,), getattr(torch, dtype), name="observations")

    @property
    def action(self) -> Leaf:
        """One action, as the policy draws it."""
        if self.discrete:
            return Leaf((), torch.int64, (self.num_actions,), "actions")
        return Leaf((len(self.action_low),), torch.float32, name="actions")

    @property
    def words(self) -> str:
        """What people compare; equal words are not yet equal spaces."""
        seen = f"observations {list(self.observation_shape)} of {self.observation_dtype}"
        return f"{seen}, {f'{self.num_actions} actions' if self.discrete else f'actions {list(self.action_shape)}'}"

    @property
    def discrete(self) -> bool:
        """Whether the policy chooses a category rather than a vector."""
        return self.num_actions > 0


def tree_of(space: gym_spaces.Space[Any]) -> Tree:
    """The tree of a space's values. Categories are counted from 0, wherever the space begins.

    Raises:
        EnvironmentFault: its values have no fixed shape.
    """
    match space:
        case gym_spaces.Dict():
            return {name: tree_of(each) for name, each in space.spaces.items()}
        case gym_spaces.Tuple():
            return tuple(tree_of(each) for each in space.spaces)
        case gym_spaces.Box():
            return Leaf(space.shape, getattr(torch, space.dtype.name, torch.float64))
        case gym_spaces.Discrete():
            return Leaf((), getattr(torch, space.dtype.name), (int(space.n),))
        case gym_spaces.MultiDiscrete():
            return Leaf(space.nvec.shape, getattr(torch, space.dtype.name), tuple(space.nvec.ravel().tolist()))
        case gym_spaces.MultiBinary():
            return Leaf(space.shape, getattr(torch, space.dtype.name), (2,))
    raise EnvironmentFault(
        f"expected Dict, Tuple, Box, Discrete, MultiDiscrete or MultiBinary, got {space}: wrap the environment"
    )


def describe(observation: gym_spaces.Space[Any], action: gym_spaces.Space[Any]) -> Spaces:
    """Reduce gymnasium's single-environment spaces to numbers.

    Raises:
        EnvironmentFault: a kind of space that no network here can handle.
    """
    if not isinstance(observation, gym_spaces.Box):
        raise EnvironmentFault(
            f"expected Box observations, got {observation}: wrap the environment "
            "(gymnasium.wrappers.FlattenObservation turns most spaces into a Box)"
        )
    if not np.issubdtype(observation.dtype, np.number) or 0 in observation.shape:
        raise EnvironmentFault(f"expected observations of at least one number, got {observation}")
    seen = cast(Leaf, tree_of(observation))
    dtype = "uint8" if seen.dtype is torch.uint8 else "float32"
    wide = not np.can_cast(observation.dtype, np.float32)
    if isinstance(action, gym_spaces.Discrete):
        return Spaces(seen.shape, int(action.n), (), int(action.start), (), (), dtype, wide)
    if isinstance(action, gym_spaces.Box) and np.issubdtype(action.dtype, np.floating):
        low, high = action.low.astype(float).ravel(), action.high.astype(float).ravel()
        return Spaces(seen.shape, 0, action.shape, 0, tuple(low.tolist()), tuple(high.tolist()), dtype, wide)
    raise EnvironmentFault(f"expected Discrete or floating Box actions, got {action}: wrap the environment")
