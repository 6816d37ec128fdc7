"""What a critic says of a trajectory, and of the true last observations where a time limit has cut it."""

from typing import NamedTuple

import torch
from torch import Tensor

from marl.data.layout import Values, mapped
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
    """Values [K] of the true last observations."""
    resets = resets_of(batch)
    if resets is None:
        return network.unroll(batch.last_observations, (), None, 0).values
    cut = cut_episodes(batch, resets)
    rows = torch.arange(len(cut.steps), device=cut.steps.device)
    return network.unroll(cut.observations, cut.state, cut.resets, 0).values[cut.steps, rows]


class CutEpisodes(NamedTuple):
    """What a network that remembers is shown to learn what the true last observations are worth. What it remembers
    there is made of the steps before: each cut episode is passed again, with its last observation in place of the next
    episode's first.
    """

    observations: Values  # [T + 1, K, ...]
    state: Values  # [K, ...]  before the first of them
    resets: Tensor  # [T + 1, K]
    steps: Tensor  # [K]  where the last observation of each is


def cut_episodes(batch: Trajectory, resets: Tensor) -> CutEpisodes:
    """Of a trajectory with true last observations; ``resets`` [T + 1, B] are its own."""
    steps, rows = batch.last_index // batch.rewards.shape[1] + 1, batch.last_index % batch.rewards.shape[1]
    cuts = torch.arange(len(rows), device=rows.device)

    def with_last(seen: Tensor, last: Tensor) -> Tensor:
        seen = seen[:, rows]
        seen[steps, cuts] = last
        return seen

    return CutEpisodes(
        mapped(with_last, batch.observations, batch.last_observations),
        mapped(lambda each: each[rows], batch.state),
        with_last(resets, torch.zeros_like(rows, dtype=torch.bool)),
        steps,
    )
