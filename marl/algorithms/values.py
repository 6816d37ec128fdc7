"""What a critic says of a trajectory."""

import torch
from torch import Tensor

from marl.data.trajectory import Trajectory
from marl.networks.actor_critic import ActorCritic
from marl.targets.returns import next_values


def policy_and_values(network: ActorCritic, observations: Tensor) -> tuple[Tensor, Tensor]:
    """Parameters [N, P] and values [N] of observations [N, D], with one pass where the network can do both at once."""
    both = getattr(network, "both", None)  # a user's own network need not have it
    return (network.policy(observations), network.values(observations)) if both is None else both(observations)


@torch.no_grad()
def following_values(network: ActorCritic, values: Tensor, batch: Trajectory) -> Tensor:
    """Value [T, B] of the true observation after each step, from values [T + 1, B] of all observations: an episode
    that was cut ended with another one.
    """
    if not len(batch.last_index):
        return values[1:]
    return next_values(values, network.values(batch.last_observations), batch.last_index)
