"""The step that a mean gradient makes, at the parent and at every child alike: the same numbers give the same bits."""

from torch import Tensor

from marl.exchanges.gradients.parts import clipped
from marl.exchanges.run import RunSettings
from marl.training.optimizers import make_optimizer


class Step:
    """The optimizer whose state is ``state`` and ``count``, and what the algorithm moves after each of its steps."""

    def __init__(self, run: RunSettings, state: Tensor, count: Tensor) -> None:
        self._algorithm, self._optimizer = run.algorithm, make_optimizer(run.optimizer, state, count)

    def make(self, weights: Tensor, mean: Tensor, *, norm: float, rate: float, updates: int) -> None:
        """Move ``weights`` [P + F] along a mean gradient [P].

        Args:
            norm: of the gradient, before it is clipped.
            updates: steps that were made, this one included.
        """
        gradient = clipped(mean, norm, self._algorithm.max_gradient_norm)
        self._optimizer.step(weights[: len(mean)], gradient, rate)
        self._algorithm.settle(weights, len(mean), updates)
