"""The loss of PPO, with its gradient by what a network says in closed form.

Schulman et al., "Proximal Policy Optimization Algorithms" (2017). An update of a small network is some fifty operations
on short vectors, and each takes longer to begin than to compute: written out, the gradient needs half of those that
autograd would make, forwards and once more backwards.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from marl.algorithms.base import ByHand, Loss
from marl.algorithms.ppo_minibatch import Minibatch
from marl.networks.actor_critic import ActorCritic
from marl.networks.contract import Policy
from marl.targets.returns import standardized


def ppo_loss(
    network: Policy,
    batch: Minibatch,
    *,
    value_cost: float,
    value_clip: float = 0.0,
    entropy_cost: float = 0.0,
    normalize_advantages: bool = True,
) -> Loss:
    """Mean of ``-min(r A, clip(r, 1 - e, 1 + e) A) + value_cost (R - V)^2 - entropy_cost H``, with r = pi / pi_old.

    The paper's equations 7 and 9. ``total`` has the gradient of that, and its value but for the entropy.
    """
    passed = network.by_hand(batch.observations) if type(network) is ActorCritic else None
    outputs = batch.outputs(network) if passed is None else passed.outputs
    parameters, values = (each.detach() for each in outputs)
    weights, batch = batch.weights(), batch.flat()
    advantages = standardized(batch.advantages, weights) if normalize_advantages else batch.advantages
    change = ratio = surrogate = weights

    def slope_of(log_probs: Tensor) -> Tensor:
        nonlocal change, ratio, surrogate
        change = log_probs - batch.log_probs
        ratio = change.exp()
        surrogate, slope = clipped_surrogate(ratio, advantages, batch.clip)
        return slope

    slopes = network.distribution.policy_gradient(parameters, batch.actions, slope_of, weights, entropy_cost)
    errors, value_slopes = value_errors(values, batch.values, batch.targets, value_clip)
    policy_loss, value_loss = -torch.dot(surrogate, weights), torch.dot(errors, weights)
    value_slopes *= weights * value_cost

    def metrics() -> dict[str, Tensor]:
        return {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": (network.distribution.entropy(parameters) * weights).sum(),
            "kl": torch.dot(ratio - 1.0 - change, weights),
            "clipped": torch.dot(((ratio - 1.0).abs() > batch.clip).to(weights.dtype), weights),
        }

    total = torch.add(policy_loss, value_loss, alpha=value_cost)
    if passed is not None:
        backward = partial(passed.backward, slopes, value_slopes)
        total = _ByHand.apply(passed.anchor, total, backward)  # type: ignore[no-untyped-call]
        return Loss(total, _WhenRead(metrics), by_hand=ByHand(total, backward))
    return Loss(_WithGradient.apply(*outputs, total, slopes, value_slopes), _WhenRead(metrics))  # type: ignore[no-untyped-call]


def clipped_surrogate(ratio: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """``min(r A, clip(r, 1 - e, 1 + e) A)`` [N], and its derivative by log pi [N].

    That of r A is r A itself, since dr = r dlog pi; where the clipped product is the smaller one it is constant.
    """
    plain = ratio * advantages
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip) * advantages
    return torch.minimum(plain, clipped), plain.where(plain <= clipped, 0.0)


def value_errors(values: Tensor, old_values: Tensor, targets: Tensor, value_clip: float) -> tuple[Tensor, Tensor]:
    """``(R - V)^2`` [N], and its derivative by V [N]; with a clip the larger one of that and of the error of V kept
    within ``value_clip`` of the old value.
    """
    apart = values - targets
    errors, slope = apart.square(), 2.0 * apart
    if not value_clip:
        return errors, slope
    moved = values - old_values
    kept = moved.clamp(-value_clip, value_clip)
    clipped = (old_values + kept - targets).square()
    return torch.maximum(errors, clipped), slope.where((errors >= clipped) | (moved == kept), 0.0)


class _WithGradient(torch.autograd.Function):
    """A number whose gradient by parameters and values is known."""

    @staticmethod
    def forward(
        context: Any, unused_parameters: Tensor, unused_values: Tensor, total: Tensor, *slopes: Tensor
    ) -> Tensor:
        context.save_for_backward(*slopes)
        return total.view_as(total)  # torch demands another one than came in

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        slopes, value_slopes = context.saved_tensors
        return slopes * grads[0], value_slopes * grads[0], None, None, None


class _ByHand(torch.autograd.Function):
    """A number whose gradient is added to that of the parameters at once."""

    @staticmethod
    def forward(context: Any, unused_anchor: Tensor, total: Tensor, backward: Callable[..., None]) -> Tensor:
        context.backward = backward
        return total.view_as(total)

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[None, None, None]:
        context.backward(scale=grads[0])
        return None, None, None


class _WhenRead(Mapping[str, Tensor]):
    """Metrics that are made when one is read: most updates' never are."""

    def __init__(self, make: Callable[[], dict[str, Tensor]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> dict[str, Tensor]:
        return self._make()

    def __getitem__(self, name: str) -> Tensor:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)
