"""Generalised advantage estimation.

Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation" (2015), equations 11-16,
with two masks: an episode that terminated has no value after it, one that was cut has; both end the sum.
"""

import torch
from torch import Tensor

from marl.targets.backwards import backward_sums


def gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    discount: float,
    gae_lambda: float,
) -> Tensor:
    """Advantages [T, B]; all arguments [T, B], ``next_values`` the value of the true next observation.

    The value target is ``advantages + values``, which is TD(lambda).
    """
    deltas = torch.addcmul(rewards - values, next_values, (~terminated).to(values.dtype), value=discount)
    decay = (~(terminated | truncated)).to(values.dtype) * (discount * gae_lambda)
    return backward_sums(deltas, decay)
