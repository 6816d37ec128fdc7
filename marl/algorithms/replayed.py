"""What algorithms that learn from a replay have in common: trajectories cut in transitions, target networks moved."""

import torch
from torch import Tensor

from marl.data.layout import mapped
from marl.data.replay.transitions import Transitions
from marl.data.trajectory import Trajectory
from marl.targets.n_step import n_step

SMALLEST = 1e-6  # added to each priority: what is understood today may be forgotten tomorrow


def cut(trajectory: Trajectory, *, discount: float, n: int) -> Transitions:
    """Each step of a trajectory as a transition over up to ``n`` steps; steps that were resets are left out."""
    sums = n_step(
        trajectory.rewards, trajectory.terminated, trajectory.truncated, trajectory.valid, discount=discount, n=n
    )
    count = trajectory.rewards.shape[1]
    next_index = (sums.bootstrap_index * count + torch.arange(count, device=trajectory.rewards.device)).flatten()
    kept = trajectory.valid.flatten().nonzero().squeeze(1)
    bootstraps = next_index[kept]

    def next_of(seen: Tensor, last: Tensor) -> Tensor:
        following = seen[1:].flatten(0, 1)
        if len(trajectory.last_index):
            following = following.index_copy(0, trajectory.last_index, last)
        return following[bootstraps]

    return Transitions(
        observations=mapped(lambda seen: seen[:-1].flatten(0, 1)[kept], trajectory.observations),
        actions=trajectory.actions.flatten(0, 1)[kept],
        returns=sums.returns.flatten()[kept],
        discounts=sums.discounts.flatten()[kept],
        next_observations=mapped(next_of, trajectory.observations, trajectory.last_observations),
        versions=torch.full((len(kept),), trajectory.version, device=kept.device),
    )


def priorities_of(errors: Tensor) -> Tensor:
    """How much transitions have to teach, by what the values missed [N]; nothing where that is no number."""
    return (errors.detach().abs() + SMALLEST).nan_to_num(nan=0.0, posinf=0.0)


def parts(weights: Tensor, num_parameters: int) -> tuple[Tensor, Tensor]:
    """In a network's flat vector, the parameters that target networks follow, which come first, and those targets,
    which are all float buffers that the network has.
    """
    targets = weights[num_parameters:]
    return weights[: len(targets)], targets
