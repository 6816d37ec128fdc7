"""Trajectories to learn from, with ends of every kind."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from tests.plain_spaces import plain_spaces

DISCRETE = plain_spaces((4,), num_actions=3)
BOX = plain_spaces((4,), action_shape=(2,), action_low=(-1.0, -1.0), action_high=(1.0, 1.0))


def random_batch(spaces: Spaces, seed: int, T: int = 7, B: int = 3) -> Trajectory:
    """With ends of both kinds, reset steps, and true last observations of half of the cut episodes."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    terminated, truncated = rng.random((T, B)) < 0.15, rng.random((T, B)) < 0.2
    last_index = np.flatnonzero(truncated & ~terminated)[::2]
    actions = torch.randn(T, B, 2, generator=generator)
    return Trajectory(
        observations=torch.randn(T + 1, B, 4, generator=generator),
        actions=torch.randint(3, (T, B), generator=generator) if spaces.discrete else actions,
        rewards=torch.randn(T, B, generator=generator),
        terminated=torch.from_numpy(terminated),
        truncated=torch.from_numpy(truncated),
        valid=torch.from_numpy(rng.random((T, B)) < 0.8),
        last_observations=torch.randn(len(last_index), 4, generator=generator),
        last_index=torch.from_numpy(last_index),
        behaviour=torch.zeros(T, B, 0),
        version=0,
    )


def in_parts(batch: Trajectory) -> Trajectory:
    """The same with observations of two parts."""

    def parts(seen: Tensor) -> Any:
        return {"first": seen[..., :1], "others": (seen[..., 1:],)}

    return batch._replace(observations=parts(batch.observations), last_observations=parts(batch.last_observations))


def joined(seen: Any) -> Tensor:
    """The inverse."""
    return torch.cat([seen["first"], *seen["others"]], -1)
