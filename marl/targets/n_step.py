"""Sums of n rewards: the first half of an n-step target, known when the steps are stored.

Horgan et al., "Distributed Prioritized Experience Replay" (2018), section 3. The second half needs the current weights:
``double_q.py``.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class NStep(NamedTuple):
    """n steps seen as one transition."""

    returns: Tensor  # [T, B]  r_t + ... + discount^(k-t) r_k
    bootstrap_index: Tensor  # [T, B]  k, the last step in the sum: bootstrap from the observation after it
    discounts: Tensor  # [T, B]  discount^(k-t+1) of that bootstrap; 0 if the episode terminated


def n_step(rewards: Tensor, terminated: Tensor, truncated: Tensor, valid: Tensor, *, discount: float, n: int) -> NStep:
    """Sums of up to ``n`` rewards, fewer at an end and at the end of the trajectory; all arguments [T, B].

    The observation after step k is the true last one of a cut episode, else number k + 1 of the trajectory. Reset steps
    are no transitions: their returns and discounts are 0.
    """
    T, dtype = len(rewards), rewards.dtype
    steps = torch.arange(T, device=rewards.device).unsqueeze(1)
    ends = terminated | truncated
    in_sum = valid.clone()
    returns = rewards * valid
    index = steps.repeat(1, rewards.shape[1])
    for k in range(1, min(n, T)):
        in_sum = in_sum[:-1] & ~ends[k - 1 : -1]  # of step t + k in the sum of step t
        returns[: T - k].addcmul_(rewards[k:], in_sum.to(dtype), value=discount**k)
        index[: T - k] += in_sum
    bootstraps = valid & ~terminated.gather(0, index)
    discounts = torch.pow(discount, (index - steps + 1).to(dtype)) * bootstraps
    return NStep(returns, index, discounts)
