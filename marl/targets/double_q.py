"""Targets for action values, one network choosing the action and another giving its value.

Van Hasselt et al., "Deep Reinforcement Learning with Double Q-learning" (2016), equation 4, over the n steps of
``n_step.py``.
"""

import torch
from torch import Tensor


@torch.no_grad()
def double_q_targets(returns: Tensor, discounts: Tensor, online_next: Tensor, target_next: Tensor) -> Tensor:
    """Targets [N]: ``returns + discounts Q_target(s', argmax_a Q_online(s', a))``, from [N], [N], [N, A] and [N, A]."""
    best = online_next.argmax(dim=-1, keepdim=True)
    return torch.addcmul(returns, discounts, target_next.gather(-1, best).squeeze(-1))
