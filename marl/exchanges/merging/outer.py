"""The step of the global weights towards the mean of a round, and what it remembers from round to round."""

from collections.abc import Mapping

import torch
from torch import Tensor

from marl.averaging.outer_step import outer_adam, outer_step
from marl.exchanges.settings import ExchangeSettings
from marl.training.saved.weights_file import copy_exactly

SQUARE = "outer_square"  # in a checkpoint


class Outer:
    """SGD with Nesterov momentum, or Adam, on the outer gradient."""

    def __init__(self, settings: ExchangeSettings, size: int) -> None:
        """``size``: number of weights."""
        self._settings = settings
        self._is_adam = settings.outer_optimizer == "adam"
        self.velocity = torch.zeros(size) if settings.outer_momentum or self._is_adam else None
        self._square = torch.zeros(size) if self._is_adam else None
        self.forget()

    def forget(self) -> None:
        """Start from zero again."""
        if self.velocity is not None:
            self.velocity.zero_()
        if self._square is not None:
            self._square.fill_(self._settings.outer_epsilon**2)

    def step(self, base: Tensor, mean: Tensor, part: slice) -> None:
        """Turn the ``mean`` of this part of the weights into their next ones, in place."""
        settings = self._settings
        velocity = None if self.velocity is None else self.velocity[part]
        if velocity is None or self._square is None:
            outer_step(base, mean, velocity, lr=settings.outer_lr, momentum=settings.outer_momentum)
            return
        outer_adam(
            base, mean, velocity, self._square[part], lr=settings.outer_lr, beta1=settings.outer_beta1,
            beta2=settings.outer_beta2, epsilon=settings.outer_epsilon,
        )  # fmt: skip

    def saved(self) -> dict[str, Tensor]:
        """What a checkpoint has beside the velocity."""
        return {} if self._square is None else {SQUARE: self._square.clone()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from a checkpoint.

        Raises:
            WeightsFileError: a tensor has another shape.
        """
        for mine, name in ((self.velocity, "velocity"), (self._square, SQUARE)):
            if mine is not None and name in tensors:
                copy_exactly(mine, tensors[name], f"the checkpoint's {name}")
