"""Multilayer perceptrons with an orthogonal start."""

import copy
import math
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from marl.errors import ConfigError

Network = TypeVar("Network", bound=nn.Module)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": functional.elu,
}


class MLP(nn.Module):
    """Hidden layers, each followed by the activation, and one linear layer on top.

    One loop over the layers' tensors: at the size of these networks a module call a layer costs as much as the layer.
    """

    def __init__(
        self,
        inputs: int,
        hidden: tuple[int, ...],
        outputs: int,
        *,
        activation: str,
        head_gain: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ConfigError(f"network.activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self._activation = ACTIVATIONS[activation]
        sizes = [inputs, *hidden]
        # Gain sqrt(2) below, as is common for actor-critics; a small one above keeps the first policy nearly uniform.
        layers = [linear(below, above, math.sqrt(2), generator) for below, above in zip(sizes, hidden, strict=False)]
        self.hidden = nn.ModuleList(layers)
        self.head = linear(sizes[-1], outputs, head_gain, generator)
        self.relist()

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [..., outputs] of inputs [..., inputs]."""
        inputs = as_floats(inputs)
        for weight, bias in self._below:
            inputs = self._activation(functional.linear(inputs, weight, bias))
        weight, bias = self._top
        return functional.linear(inputs, weight, bias)

    def relist(self) -> None:
        """Find the layers' tensors again, after they have been replaced."""
        layers = [cast(Linear, layer) for layer in self.hidden]
        self._below = [(layer.weight, layer.bias) for layer in layers]
        self._top = self.head.weight, self.head.bias


def as_floats(observations: Tensor) -> Tensor:
    """Pixels, bytes from 0 to 255, as numbers from 0 to 1; whatever else as it is."""
    return observations / 255.0 if observations.dtype is torch.uint8 else observations


def as_buffers(network: Network) -> Network:
    """A copy whose parameters have become buffers of the same names: no gradient reaches them, and in the flat vector
    they lie behind all parameters, in the parameters' own order.
    """
    copied = copy.deepcopy(network)
    for module in copied.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
    for module in copied.modules():
        if isinstance(module, MLP):
            module.relist()
    return copied


class Linear(nn.Module):
    """``nn.Linear`` without its own start, which would be thrown away; ``nn.utils.skip_init`` imports for a quarter of
    a second at its first call.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))


def linear(inputs: int, outputs: int, gain: float, generator: torch.Generator) -> Linear:
    """A layer with orthogonal weights of the given gain and no bias at the start."""
    layer = Linear(inputs, outputs)
    with torch.no_grad():
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
    return layer
