"""What a critic says of a trajectory, and of the true last observations where a time limit has cut it."""

import torch
from torch import Tensor

from marl.data.layout import mapped
from marl.data.trajectory import Trajectory, resets_of
from marl.networks.contract import Outputs, Policy
from marl.targets.returns import next_values


def outputs_of(network: Policy, batch: Trajectory) -> Outputs:
    """Parameters [T, B, P] of the policy that is learned, and values [T + 1, B] of all observations, in one pass."""
    return network.unroll(batch.observations, batch.state, resets_of(batch), len(batch.rewards))


@torch.no_grad()
def following_values(network: Policy, values: Tensor, batch: Trajectory) -> Tensor:
    """Value [T, B] of the true observation after each step, from values [T + 1, B] of all observations: an episode
    that was cut ended with another one.
    """
    if not len(batch.last_index):
        return values[1:]
    return next_values(values, _last_values(network, batch), batch.last_index)


def _last_values(network: Policy, batch: Trajectory) -> Tensor:
    """Values [K] of the true last observations. What is remembered there is made of the steps before: each cut episode
    is passed again, with its last observation in place of the next episode's first.
    """
    resets = resets_of(batch)
    if resets is None:
        return network.unroll(batch.last_observations, (), None, 0).values
    steps, rows = batch.last_index // batch.rewards.shape[1] + 1, batch.last_index % batch.rewards.shape[1]
    cuts = torch.arange(len(rows), device=rows.device)

    def with_last(seen: Tensor, last: Tensor) -> Tensor:
        seen = seen[:, rows]
        seen[steps, cuts] = last
        return seen

    observations = mapped(with_last, batch.observations, batch.last_observations)
    resets = with_last(resets, torch.zeros_like(rows, dtype=torch.bool))
    state = mapped(lambda each: each[rows], batch.state)
    return network.unroll(observations, state, resets, 0).values[steps, cuts]
