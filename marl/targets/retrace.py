"""Retrace(lambda): action values of one policy, from trajectories of another.

Munos et al., "Safe and Efficient Off-Policy Reinforcement Learning" (2016): the general operator of section 2 with
c = lambda min(1, pi / mu), written backwards; masks as in ``gae``.
"""

import torch
from torch import Tensor

from marl.targets.backwards import backward_sums


@torch.no_grad()
def retrace(
    log_ratios: Tensor,
    rewards: Tensor,
    q_taken: Tensor,
    expected_next: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    discount: float,
    retrace_lambda: float,
) -> Tensor:
    """Targets [T, B] of ``q_taken``, the Q(s_t, a_t); all arguments [T, B].

    ``log_ratios`` are ``log pi(a|s) - log mu(a|s)``, and ``expected_next`` is Q at the true next observation, averaged
    over the actions of pi.
    """
    dtype = q_taken.dtype
    discounts = (~terminated).to(dtype) * discount
    errors = torch.addcmul(rewards - q_taken, discounts, expected_next)
    decay = discounts * (~truncated).to(dtype)
    # The next action's ratio, not this one's: the target is of the action that was taken, however it was chosen.
    decay[:-1] *= log_ratios[1:].exp().clamp_max(1.0) * retrace_lambda
    return q_taken + backward_sums(errors, decay)
