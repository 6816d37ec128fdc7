"""Errors of action values along whole sequences, by a network that remembers.

Kapturowski et al., "Recurrent Experience Replay in Distributed Reinforcement Learning" (2019), section 2.3.
"""

import torch
from torch import Tensor

from marl.algorithms.last_values import cut_episodes
from marl.algorithms.replayed import priorities_of
from marl.data.layout import at
from marl.data.trajectory import Trajectory, resets_of, without_burn_in
from marl.networks.contract import RecurrentActionValues
from marl.targets.double_q import double_q_targets
from marl.targets.n_step import n_step

LARGEST_ERROR = 0.9  # how much a sequence's largest error counts in its priority; the rest is their mean


def sequence_errors(
    network: RecurrentActionValues, batch: Trajectory, *, discount: float, n: int, double: bool, rescaled: bool
) -> tuple[Tensor, Tensor]:
    """By how much the values of what was done are off [T, B], without a gradient, and those values [T, B]; of the T
    steps behind the burn-in.

    Both networks begin with the state before the first step; the last n - 1 targets have fewer rewards.
    """
    resets = resets_of(batch)
    assert resets is not None  # the network remembers
    past_state = batch.state
    if batch.burn_in:
        with torch.no_grad():
            warmed = at(batch.observations, slice(batch.burn_in)), batch.state, resets[: batch.burn_in + 1]
            state, past_state = network.warm(*warmed)
        batch, resets = without_burn_in(batch)._replace(state=state), resets[batch.burn_in :]
    values = network.unroll(batch.observations, batch.state, resets)  # [T + 1, B, A]
    with torch.no_grad():
        online, target = values.detach(), network.unroll_target(batch.observations, past_state, resets)
        following, worth = online[1:], target[1:]
        if len(batch.last_index):
            cut, past_cut = (cut_episodes(batch._replace(state=each), resets) for each in (batch.state, past_state))
            places = cut.steps, torch.arange(len(cut.steps), device=cut.steps.device)
            last = network.unroll(cut.observations, cut.state, cut.resets)[places]
            following = _with_last(following, last, batch.last_index)
            last = network.unroll_target(past_cut.observations, past_cut.state, past_cut.resets)[places]
            worth = _with_last(worth, last, batch.last_index)
        sums = n_step(batch.rewards, batch.terminated, batch.truncated, batch.valid, discount=discount, n=n)
        index = sums.bootstrap_index.unsqueeze(-1).expand_as(worth)
        worth = worth.gather(0, index)
        choosing = following.gather(0, index) if double else worth
        targets = double_q_targets(sums.returns, sums.discounts, choosing, worth, rescaled=rescaled)
    chosen = values[:-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
    return chosen.detach() - targets, chosen


def _with_last(following: Tensor, last: Tensor, last_index: Tensor) -> Tensor:
    """Values [T, B, A] after each step, with those [K, A] of the true last observations."""
    return following.flatten(0, 1).index_copy(0, last_index, last).view_as(following)


def sequence_priorities(errors: Tensor, counts: Tensor) -> Tensor:
    """Of sequences [B]: of the largest error and the mean of all, of the steps [T, B] that count; 0 where none does."""
    sizes = priorities_of(errors) * counts
    mean = sizes.sum(0) / counts.sum(0).clamp_min(1)
    return LARGEST_ERROR * sizes.amax(0) + (1.0 - LARGEST_ERROR) * mean
