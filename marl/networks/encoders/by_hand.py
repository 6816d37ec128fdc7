"""Forward and backward pass of small multilayer perceptrons without autograd.

A layer of a small network computes for a shorter time than autograd takes to remember it, to find it again and to add
its gradient to the parameter's. By hand the same products, in the same order, give the same bits.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Of an activation: the same, on the spot, and slopes by what goes in, of those by what comes out and of what came out.
DERIVED: dict[Callable[[Tensor], Tensor], tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    torch.tanh: (torch.tanh_, torch.ops.aten.tanh_backward.default),
    torch.relu: (torch.relu_, lambda slopes, found: torch.ops.aten.threshold_backward.default(slopes, found, 0)),
}


class Perceptron(NamedTuple):
    """Linear layers with an activation of ``DERIVED`` behind all but the last."""

    layers: Sequence[tuple[Tensor, Tensor]]  # weights [outputs, inputs] and biases [outputs]
    activation: Callable[[Tensor], Tensor]

    def learns(self) -> bool:
        """Whether each parameter wants a gradient, and there is one that it can be added to."""
        return all(each.requires_grad and each.grad is not None for layer in self.layers for each in layer)

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> list[Tensor]:
        """What each layer sees of inputs [N, D], and at last the outputs [N, outputs]."""
        activate, _ = DERIVED[self.activation]
        seen = [inputs]
        for weight, bias in self.layers[:-1]:
            seen.append(activate(torch.addmm(bias, seen[-1], weight.t())))
        weight, bias = self.layers[-1]
        return [*seen, torch.addmm(bias, seen[-1], weight.t())]

    @torch.no_grad()
    def backward(self, seen: list[Tensor], slopes: Tensor) -> None:
        """Add to the parameters' gradients those of a sum with these slopes [N, outputs]; see ``forward``."""
        _, derive = DERIVED[self.activation]
        for number in reversed(range(len(self.layers))):
            weight, bias = self.layers[number]
            weight.grad.addmm_(slopes.t(), seen[number])  # type: ignore[union-attr]
            bias.grad.add_(slopes.sum(0))  # type: ignore[union-attr]
            if number:
                slopes = derive(slopes.mm(weight), seen[number])
