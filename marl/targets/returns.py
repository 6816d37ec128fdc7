"""What several targets and losses share: the value after each step, means over transitions, standard advantages."""

import math

import torch
from torch import Tensor

# Deviation, as a part of the mean, that equal numbers may seem to have: twice the most seen for 1 to a million of them.
ROUNDING = 8 * torch.finfo(torch.float32).eps


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
    """Advantages of weighted mean 0 and deviation 1; weights sum to 1.

    Where only rounding tells them apart they are 0. One alone stays as it is: less its own mean it would always be 0,
    and nothing would ever be learned.
    """
    mean = float((advantages * weights).sum())
    centred = advantages - mean
    deviation = float((centred.square() * weights).sum().sqrt())
    if deviation > ROUNDING * abs(mean):
        return centred / (deviation + 1e-8)
    return advantages if float(weights.max()) == 1.0 else centred / torch.inf  # one alone has deviation 0


def moments_of(advantages: Tensor, weights: Tensor) -> Tensor:
    """Of advantages with weights of any sum [4], in float64: how many have a weight, and the sums of weights, of
    advantages and of their squares. Those of several parts add up for ``standardized_by``.
    """
    advantages, weights = advantages.double(), weights.double()
    sums = weights, weights * advantages, weights * advantages.square()
    return torch.stack([torch.count_nonzero(weights).double(), *(each.sum() for each in sums)])


def standardized_by(advantages: Tensor, moments: Tensor) -> Tensor:
    """As ``standardized``, among all advantages that have these ``moments`` [4], of which these are a part."""
    count, weight, total, squares = moments.tolist()
    if count <= 1:
        return advantages
    mean = total / weight
    deviation = math.sqrt(max(0.0, squares / weight - mean * mean))
    scale = 1.0 / (deviation + 1e-8) if deviation > ROUNDING * abs(mean) else 0.0
    found: Tensor = (advantages - mean) * scale
    return found
