"""What makes features of observations: multilayer perceptrons, or a user's own."""

import math
from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from marl.data.layout import Values
from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.networks.heads import Linear, linear
from marl.networks.kept_tensors import KeepsTensors
from marl.networks.own_module import demand_size, own_module
from marl.networks.settings import NetworkSettings

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": functional.elu,
}


class Encoder(Protocol):
    """A user's own is made as ``Class(spaces, settings)``."""

    size: int  # features

    def forward(self, observations: Values) -> Tensor:
        """Features [..., size] of observations [..., D]: rows, or a tree of rows."""


class MLP(KeepsTensors, nn.ModuleList):
    """Hidden layers, each followed by the activation.

    One loop over the layers' tensors: at the size of these networks a module call a layer costs as much as the layer.
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], activation: str, generator: torch.Generator) -> None:
        sizes = [inputs, *hidden]
        # Gain sqrt(2) below, as is common for actor-critics; a small one in the head keeps the first policy nearly
        # uniform.
        super().__init__(
            [linear(below, above, math.sqrt(2), generator) for below, above in zip(sizes, hidden, strict=False)]
        )
        self._activation = activation_of(activation)
        self.size = sizes[-1]
        self.relist()

    def forward(self, inputs: Tensor) -> Tensor:
        """Features [..., size] of inputs [..., inputs]."""
        inputs = as_floats(inputs)
        activation = self._activation
        for weight, bias in self._layers:
            inputs = activation(functional.linear(inputs, weight, bias))
        return inputs

    def relist(self) -> None:
        """See ``KeepsTensors``."""
        self._layers = [(layer.weight, layer.bias) for layer in (cast(Linear, each) for each in self)]


def activation_of(name: str) -> Callable[[Tensor], Tensor]:
    """The function of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(f"network.activation: expected one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


def make_encoder(spaces: Spaces, settings: NetworkSettings, generator: torch.Generator) -> tuple[nn.Module, int]:
    """The encoder that the settings name, and how many features it makes.

    Raises:
        PluginError: there is no such class, or it cannot be made.
    """
    name = settings.encoder
    if name is None or name == "mlp":
        mlp = MLP(spaces.observation_size, settings.hidden, settings.activation, generator)
        return mlp, mlp.size
    seed = int(torch.randint(2**31, (), generator=generator))
    own = own_module("network.encoder", name, seed, spaces=spaces, settings=settings)
    return own, demand_size("network.encoder", name, own)


def as_floats(observations: Tensor) -> Tensor:
    """Pixels, bytes from 0 to 255, as numbers from 0 to 1; whatever else as it is."""
    return observations / 255.0 if observations.dtype is torch.uint8 else observations
