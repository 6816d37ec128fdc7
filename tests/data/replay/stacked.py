"""Trajectories whose observations are stacks of frames."""

import numpy as np
import torch

from marl.data.layout import Layout, Leaf
from marl.data.replay.rollout import rollout_tree
from marl.data.trajectory import Trajectory

DEPTH, FRAME, LENGTH, ENVIRONMENTS = 4, 6, 32, 3
STACK = Leaf((DEPTH * FRAME,), torch.uint8, frames=DEPTH)


def layout_of(observation: object = STACK) -> Layout:
    return Layout(
        rollout_tree(
            length=LENGTH,
            environments=ENVIRONMENTS,
            observation=observation,  # type: ignore[arg-type]
            action=Leaf((), torch.int64),
            num_parameters=1,
        )
    )


def played(rng: np.random.Generator, begin: str = "blank", chance: float = 0.05, cuts: int = 0) -> Trajectory:
    """Random frames; with a ``chance`` an episode begins, with "blank" frames, the "same", or all of them "other"."""
    stacks = np.zeros((LENGTH + 1, ENVIRONMENTS, DEPTH, FRAME), np.uint8)
    for environment in range(ENVIRONMENTS):
        for step in range(LENGTH + 1):
            newest = rng.integers(1, 256, FRAME)
            if step and rng.random() >= chance:
                stacks[step, environment, :-1] = stacks[step - 1, environment, 1:]
            elif begin == "same":
                stacks[step, environment] = newest
            elif begin == "other" or not step:
                stacks[step, environment] = rng.integers(1, 256, (DEPTH, FRAME))
            stacks[step, environment, -1] = newest
    places = rng.choice(LENGTH * ENVIRONMENTS, cuts, replace=False)
    steps, environments = np.divmod(places, ENVIRONMENTS)
    last = np.roll(stacks[steps, environments], -1, axis=1)
    last[:, -1] = rng.integers(1, 256, (cuts, FRAME))
    flags = torch.zeros(3, LENGTH, ENVIRONMENTS, dtype=torch.bool)
    return Trajectory(
        observations=torch.from_numpy(stacks.reshape(LENGTH + 1, ENVIRONMENTS, -1)),
        actions=torch.zeros(LENGTH, ENVIRONMENTS, dtype=torch.int64),
        rewards=torch.zeros(LENGTH, ENVIRONMENTS),
        terminated=flags[0],
        truncated=flags[1],
        valid=~flags[2],
        last_observations=torch.from_numpy(last.reshape(cuts, DEPTH * FRAME)),
        last_index=torch.from_numpy(places),
        behaviour=torch.zeros(LENGTH, ENVIRONMENTS, 1),
        version=7,
    )
