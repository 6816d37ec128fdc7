"""Collectors over environments that count, and what they have played in one piece."""

from itertools import pairwise

import numpy as np
import torch

from marl.acting.collect import Collector, Episodes
from marl.data.trajectory import Trajectory
from marl.environments.vector import Environments
from marl.networks.distributions import Categorical
from tests.fake_algorithms import FixedPolicy

MODES = ["NextStep", "SameStep", "Disabled"]
UNIFORM = [0.0, 0.0, 0.0]


def counting_policy() -> FixedPolicy:
    return FixedPolicy(Categorical(3), UNIFORM, size=3)


def collector(
    environments: Environments, *, length: int = 5, discount: float = 0.9, reward_scale: float = 1.0
) -> Collector:
    return Collector(
        environments,
        length=length,
        discount=discount,
        reward_scale=reward_scale,
        generator=torch.Generator().manual_seed(7),
        seeds=list(range(environments.count)),
    )


def copied(trajectory: Trajectory) -> Trajectory:
    """The next ``collect`` writes into the same memory."""
    return Trajectory(*(each.clone() if isinstance(each, torch.Tensor) else each for each in trajectory))


def played(found: Collector, policy: FixedPolicy, times: int) -> tuple[Trajectory, Episodes]:
    """Several trajectories joined: [times * T (+ 1), B]."""
    parts = []
    for _ in range(times):
        trajectory, episodes = found.collect(policy, None, 0)
        parts.append((copied(trajectory), episodes))
    for (before, _), (after, _) in pairwise(parts):
        assert torch.equal(before.observations[-1], after.observations[0])  # it plays on where it stopped
    size = parts[0][0].rewards.numel()

    def joined(name: str) -> torch.Tensor:
        return torch.cat([getattr(part, name) for part, _ in parts])

    trajectory = Trajectory(
        observations=torch.cat([*(part.observations[:-1] for part, _ in parts), parts[-1][0].observations[-1:]]),
        actions=joined("actions"),
        rewards=joined("rewards"),
        terminated=joined("terminated"),
        truncated=joined("truncated"),
        valid=joined("valid"),
        last_observations=joined("last_observations"),
        last_index=torch.cat([part.last_index + number * size for number, (part, _) in enumerate(parts)]),
        behaviour=joined("behaviour"),
        version=0,
    )
    returns, lengths = (np.concatenate([getattr(each, name) for _, each in parts]) for name in ("returns", "lengths"))
    steps, seconds = (sum(getattr(each, name) for _, each in parts) for name in ("steps", "seconds"))
    return trajectory, Episodes(returns, lengths, steps, seconds)
