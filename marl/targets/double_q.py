"""n-step targets for action values, one network choosing the action and another judging it.

Van Hasselt et al., "Deep Reinforcement Learning with Double Q-learning" (2016), equation 4, over n steps as in Horgan
et al., "Distributed Prioritized Experience Replay" (2018), section 3. In two halves: the first is known when the steps
are stored, the second needs the weights of the day.
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


@torch.no_grad()
def double_q_targets(returns: Tensor, discounts: Tensor, online_next: Tensor, target_next: Tensor) -> Tensor:
    """Targets [N]: ``returns + discounts Q_target(s', argmax_a Q_online(s', a))``, from [N], [N], [N, A] and [N, A]."""
    best = online_next.argmax(dim=-1, keepdim=True)
    return torch.addcmul(returns, discounts, target_next.gather(-1, best).squeeze(-1))
