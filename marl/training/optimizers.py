"""Optimizers over one flat vector. All of their state lies in shared memory.

``torch.optim`` is not used. When one of its classes is first constructed, it imports modules for a second or more. It
keeps its state per parameter and per process. Updates race without locks, as in Hogwild (Niu et al. 2011) and A3C (Mnih
et al. 2016).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from marl.errors import ConfigError


@dataclass(frozen=True)
class OptimizerSettings:
    """Which optimizer the workers share."""

    name: str = "adam"  # or "rmsprop" (the paper's), "sgd"
    beta1: float = 0.9  # Adam: decay of the mean gradient
    beta2: float = 0.999  # Adam: decay of the mean squared gradient
    decay: float = 0.99  # RMSProp: decay of the mean squared gradient
    momentum: float = 0.0  # SGD
    epsilon: float = 1e-5  # Adam: outside the root; RMSProp: inside it, as in the paper (its code used 0.1)


class Optimizer(Protocol):
    """Moves shared weights along a gradient."""

    def step(self, weights: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Update ``weights`` [P] in place."""


class Adam:
    """Kingma and Ba, "Adam" (2015). The step counter is shared too, or its bias correction would be wrong."""

    def __init__(self, settings: OptimizerSettings, state: Tensor, count: Tensor) -> None:
        self._settings = settings
        self._mean, self._square = state[0], state[SQUARES["adam"]]
        self._count = count
        self._apply = fused_adam if hasattr(torch, "_fused_adam_") else plain_adam

    def step(self, weights: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Update ``weights`` [P] in place."""
        self._count += 1
        self._apply(weights, gradient, self._mean, self._square, self._count, learning_rate, self._settings)


def fused_adam(
    weights: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    count: Tensor,
    rate: float,
    s: OptimizerSettings,
) -> None:
    """torch's own kernel: one pass over memory. It is private to torch, so a plain version stands beside it."""
    torch._fused_adam_(
        [weights],
        [gradient],
        [mean],
        [square],
        [],
        [count],
        lr=rate,
        beta1=s.beta1,
        beta2=s.beta2,
        weight_decay=0.0,
        eps=s.epsilon,
        amsgrad=False,
        maximize=False,
    )


def plain_adam(
    weights: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    count: Tensor,
    rate: float,
    s: OptimizerSettings,
) -> None:
    """The same, written out."""
    steps = float(count)
    mean.lerp_(gradient, 1 - s.beta1)
    square.mul_(s.beta2).addcmul_(gradient, gradient, value=1 - s.beta2)
    root = (square / (1 - s.beta2**steps)).sqrt_().add_(s.epsilon)
    weights.addcdiv_(mean, root, value=-rate / (1 - s.beta1**steps))


class RMSProp:
    """The paper's shared RMSProp: ``g <- a g + (1 - a) d^2; w <- w - lr d / sqrt(g + eps)``, g one shared vector."""

    def __init__(self, settings: OptimizerSettings, state: Tensor, count: Tensor) -> None:
        self._settings = settings
        self._square = state[SQUARES["rmsprop"]]
        self._count = count

    def step(self, weights: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Update ``weights`` [P] in place."""
        self._count += 1
        decay = self._settings.decay
        self._square.mul_(decay).addcmul_(gradient, gradient, value=1 - decay)
        weights.addcdiv_(gradient, (self._square + self._settings.epsilon).sqrt_(), value=-learning_rate)


class SGD:
    """Momentum, shared: ``v <- m v + d; w <- w - lr v``."""

    def __init__(self, settings: OptimizerSettings, state: Tensor, count: Tensor) -> None:
        self._momentum = settings.momentum
        self._velocity = state[0]
        self._count = count

    def step(self, weights: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Update ``weights`` [P] in place."""
        self._count += 1
        self._velocity.mul_(self._momentum).add_(gradient)
        weights.add_(self._velocity, alpha=-learning_rate)


SQUARES = {"adam": 1, "rmsprop": 0}  # which vector of the state holds mean squared gradients
OPTIMIZERS: dict[str, Callable[[OptimizerSettings, Tensor, Tensor], Optimizer]] = {
    "adam": Adam,
    "rmsprop": RMSProp,
    "sgd": SGD,
}


def make_optimizer(settings: OptimizerSettings, state: Tensor, count: Tensor) -> Optimizer:
    """The optimizer over shared ``state`` [NUM_VECTORS, P] and ``count`` [1].

    Raises:
        ConfigError: a name that is not known.
    """
    if settings.name not in OPTIMIZERS:
        raise ConfigError(f"optimizer.name: expected one of {', '.join(OPTIMIZERS)}, got {settings.name!r}")
    return OPTIMIZERS[settings.name](settings, state, count)


def can_go_on(settings: OptimizerSettings, state: Tensor, count: Tensor) -> bool:
    """Whether an optimizer can continue from ``state`` and ``count``: it takes roots of its mean squares."""
    square = SQUARES.get(settings.name)
    return bool((count >= 0).all()) and (square is None or bool((state[square] >= 0).all()))


class Moment(NamedTuple):
    """One vector of an optimizer's state: past gradients, or their squares, of which each step forgets a part."""

    row: int  # of the state [NUM_VECTORS, P]
    decay: float  # what one step leaves of it
    squared: bool  # never below 0
    longest: float  # its length is at most this, in lengths of the longest gradient (squared: in their squares)


def moments_of(settings: OptimizerSettings, which: str) -> tuple[Moment, ...]:
    """The vectors that children average.

    Args:
        which: "own": none; "second": mean squared gradients; "all": mean gradients, or momentum, too.
    """
    rows: dict[str, tuple[Moment, ...]] = {
        "adam": (Moment(0, settings.beta1, False, 1.0), Moment(SQUARES["adam"], settings.beta2, True, 1.0)),
        "rmsprop": (Moment(SQUARES["rmsprop"], settings.decay, True, 1.0),),
        "sgd": (Moment(0, settings.momentum, False, 1 / max(1e-9, 1 - settings.momentum)),),
    }
    found = rows.get(settings.name, ())
    return tuple(each for each in found if which == "all" or (which == "second" and each.squared))
