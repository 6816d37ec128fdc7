"""Targets for action values, one network choosing the action and another giving its value.

Van Hasselt et al., "Deep Reinforcement Learning with Double Q-learning" (2016), equation 4, over the n steps of
``n_step.py``.
"""

import torch
from torch import Tensor

from marl.targets.rescaling import compressed, expanded


@torch.no_grad()
def double_q_targets(
    returns: Tensor, discounts: Tensor, online_next: Tensor, target_next: Tensor, *, rescaled: bool = False
) -> Tensor:
    """Targets [...]: ``returns + discounts Q_target(s', argmax_a Q_online(s', a))``, from [...], [...], [..., A] and
    [..., A]; where values are ``rescaled``, h of that sum, in which h's inverse of Q stands (see ``rescaling.py``).
    """
    best = online_next.argmax(dim=-1, keepdim=True)
    worth = target_next.gather(-1, best).squeeze(-1)
    if rescaled:
        return compressed(torch.addcmul(returns, discounts, expanded(worth)))
    return torch.addcmul(returns, discounts, worth)
