"""n-step returns: rewards up to the end of the trajectory, then a bootstrap.

Mnih et al., "Asynchronous Methods for Deep Reinforcement Learning" (2016), algorithm S3: R <- r + discount * R,
backwards.
"""

import torch
from torch import Tensor

from marl.targets.gae import gae


def n_step_advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    discount: float,
) -> Tensor:
    """Advantages [T, B] of n-step returns over the value baseline; all arguments [T, B].

    This is generalised advantage estimation with lambda = 1: its deltas telescope.
    """
    return gae(rewards, values, next_values, terminated, truncated, discount=discount, gae_lambda=1.0)


def next_values(values: Tensor, last_values: Tensor, last_index: Tensor) -> Tensor:
    """Value [T, B] after each step, from values [T + 1, B] and the true last values [K] of cut episodes."""
    following = values[1:]
    if len(last_index):
        following = following.reshape(-1).index_put((last_index,), last_values).view_as(following)
    return following


def mean_weights(valid: Tensor) -> Tensor:
    """Weights [T, B] that make a sum the mean over the steps that are transitions, and ignore the others."""
    weights = valid.to(torch.float32)
    return weights / weights.sum().clamp_min(1.0)


def standardized(advantages: Tensor, weights: Tensor) -> Tensor:
    """Advantages of weighted mean 0 and deviation 1."""
    centred = advantages - (advantages * weights).sum()
    return centred / ((centred.square() * weights).sum().sqrt() + 1e-8)
