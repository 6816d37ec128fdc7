"""V-trace: values of the policy that learns, from trajectories of an older one.

Espeholt et al., "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures" (2018),
equation 1 in the recursive form of remark 1, and the policy gradient of section 4.2; masks as in ``gae``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from marl.targets.backwards import backward_sums


class VTrace(NamedTuple):
    """What the losses of IMPALA aim at."""

    targets: Tensor  # [T, B]  of the value
    advantages: Tensor  # [T, B]  of the policy gradient, times rhos already
    rhos: Tensor  # [T, B]  the ratio, clipped at max_policy_rho: weighs any other policy term


@torch.no_grad()
def vtrace(
    log_ratios: Tensor,
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    discount: float,
    trace_lambda: float = 1.0,
    max_rho: float = 1.0,
    max_c: float = 1.0,
    max_policy_rho: float = 1.0,
) -> VTrace:
    """Constants for the losses; ``log_ratios`` are ``log pi(a|s) - log mu(a|s)``, all arguments [T, B].

    ``max_rho`` decides which policy's value is learned (infinite: that of pi), ``max_c <= max_rho`` only how fast.
    """
    dtype = values.dtype
    ratios = log_ratios.exp()
    discounts = (~terminated).to(dtype) * discount
    decay = discounts * (~truncated).to(dtype) * ratios.clamp_max(max_c) * trace_lambda
    errors = torch.addcmul(rewards - values, discounts, next_values) * ratios.clamp_max(max_rho)
    targets = values + backward_sums(errors, decay)
    # Only inside an episode is the next step's target that of the next observation.
    next_targets = torch.cat([targets[1:], next_values[-1:]]).where(~truncated, next_values)
    rhos = ratios.clamp_max(max_policy_rho)
    advantages = torch.addcmul(rewards - values, discounts, next_targets) * rhos
    return VTrace(targets, advantages, rhos)
