"""TD(lambda): returns between the next value (lambda 0) and the whole trajectory (lambda 1).

Sutton and Barto, "Reinforcement Learning: An Introduction" (2018), equation 12.18, with the masks of ``gae``. Where
``gae`` needs the next value to be the value of the next step, this does not.
"""

import torch
from torch import Tensor

from marl.targets.backwards import backward_sums


@torch.no_grad()
def td_lambda(
    rewards: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    discount: float,
    td_lambda: float | Tensor,
) -> Tensor:
    """Targets [T, B]: ``G_t = r_t + discount ((1 - lambda_t) V_{t+1} + lambda_t G_{t+1})``; all arguments [T, B].

    ``next_values`` are the values of the true next observations: all that counts after an end or the last step.
    ``td_lambda`` is one number, or one for each step [T, B].
    """
    dtype = next_values.dtype
    goes_on = (~(terminated | truncated)).to(dtype) * td_lambda
    decay = (~terminated).to(dtype) * discount
    bootstrapped = torch.addcmul(rewards, decay * (1.0 - goes_on), next_values)
    return backward_sums(bootstrapped, decay * goes_on, next_values[-1])
