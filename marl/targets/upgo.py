"""The upgoing return: follow the trajectory while it does better than expected, else bootstrap.

Vinyals et al., "Grandmaster level in StarCraft II using multi-agent reinforcement learning" (2019), Methods: G_t =
r_t + discount G_{t+1} if Q(s_{t+1}, a_{t+1}) >= V(s_{t+1}), else r_t + discount V(s_{t+1}), where Q(s, a) is the reward
and the discounted next value. It learns from lucky trajectories, so it is biased upwards: for a policy term beside
V-trace's, never a value's target.
"""

import torch
from torch import Tensor

from marl.targets.td_lambda import td_lambda


@torch.no_grad()
def upgo(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    discount: float,
    upgo_lambda: float = 1.0,
) -> Tensor:
    """Returns [T, B], no less than those of one step; all arguments as in ``gae``.

    The advantage is ``returns - values``, to be weighted by the clipped ratio. ``upgo_lambda``: the share of the return
    where it is followed; less is nearer to the one-step return.
    """
    q_taken = torch.addcmul(rewards, next_values, (~terminated).to(values.dtype), value=discount)
    lambdas = torch.zeros_like(values)
    lambdas[:-1] = (q_taken >= values)[1:].to(values.dtype) * upgo_lambda
    return td_lambda(rewards, next_values, terminated, truncated, discount=discount, td_lambda=lambdas)
