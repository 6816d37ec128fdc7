"""The step that the global weights take towards the mean of the children.

Douillard et al., "DiLoCo" (2023): SGD with Nesterov momentum upon the outer gradient ``base - mean``. Reddi et al.,
"Adaptive Federated Optimization" (2020), algorithm 2: Adam upon the same gradient (FedAdam).
"""

import torch
from torch import Tensor

from marl.averaging.tiles import TILE


def outer_step(base: Tensor, mean: Tensor, velocity: Tensor | None, *, lr: float, momentum: float) -> Tensor:
    """Turn ``mean`` [N] into the next weights, in place; ``velocity`` [N] is kept from round to round.

    ``d = base - mean; v = momentum v + d; next = mean + (1 - lr) d - lr momentum v``

    Args:
        lr: how far to go; 1 with momentum 0 is plain averaging, to the bit; .7 is usual with momentum.
        momentum: how much of the earlier steps to repeat; .9 is usual, 0 needs no ``velocity``.
    """
    if lr == 1 and momentum == 0:
        return mean  # not computed: adding 0 would turn -0 into 0
    if momentum and velocity is None:
        raise ValueError(f"expected a velocity to remember momentum {momentum} in, got none")
    scratch = torch.empty(min(TILE, mean.numel()))
    for start in range(0, mean.numel(), TILE):
        tile = slice(start, start + TILE)
        target = mean[tile]
        difference = torch.sub(base[tile], target, out=scratch[: target.numel()])
        target.add_(difference, alpha=1 - lr)
        if velocity is not None:
            target.sub_(velocity[tile].mul_(momentum).add_(difference), alpha=lr * momentum)
    return mean


def outer_adam(
    base: Tensor,
    mean: Tensor,
    velocity: Tensor,
    square: Tensor,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> Tensor:
    """Turn ``mean`` [N] into the next weights, in place; ``velocity`` and ``square`` [N] are kept from round to round.

    ``d = base - mean; v = b1 v + (1 - b1) d; s = b2 s + (1 - b2) d^2; next = base - lr v / (sqrt(s) + epsilon)``

    As in the paper, no bias is corrected: ``square`` begins at ``epsilon ** 2``.

    Args:
        lr: how far a weight goes that always goes the same way.
        epsilon: the paper's tau: steps much shorter than this are not made longer.
    """
    scratch = torch.empty(min(TILE, mean.numel()))
    for start in range(0, mean.numel(), TILE):
        tile = slice(start, start + TILE)
        target = mean[tile]
        difference = torch.sub(base[tile], target, out=target)
        velocity[tile].mul_(beta1).add_(difference, alpha=1 - beta1)
        square[tile].mul_(beta2).addcmul_(difference, difference, value=1 - beta2)
        root = torch.sqrt(square[tile], out=scratch[: target.numel()]).add_(epsilon)
        torch.addcdiv(base[tile], velocity[tile], root, value=-lr, out=target)
    return mean
