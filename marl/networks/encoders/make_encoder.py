"""What makes features of observations: multilayer perceptrons, convolutions, tables, all together, or a user's own."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from marl.data.layout import Values, leaves
from marl.data.pictures import flat_pictures
from marl.data.spaces import Part, Parts, Spaces, values_of
from marl.errors import ConfigError
from marl.networks.encoders.by_hand import DERIVED, Perceptron
from marl.networks.encoders.embedding import Embedding, needs_table
from marl.networks.encoders.inputs import Inputs, as_floats
from marl.networks.encoders.pictures import PictureEncoder
from marl.networks.heads import Linear, linear
from marl.networks.kept_tensors import KeepsTensors
from marl.networks.own_module import ROWS, TIMES, demand_shape, demand_size, own_module
from marl.networks.settings import NetworkSettings

ENCODERS = ("auto", "mlp", "nature", "dqn", "impala")
PICTURE, TABLE, OTHER = range(3)  # what a leaf goes through
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
    """Hidden layers, each followed by the activation, with a normalisation before it where that is wanted.

    One loop over the layers' tensors: at the size of these networks a module call a layer costs as much as the layer.
    """

    def __init__(
        self,
        inputs: Inputs,
        hidden: tuple[int, ...],
        activation: str,
        generator: torch.Generator,
        *,
        layer_norm: bool = False,
    ) -> None:
        sizes = [inputs.size, *hidden]
        # Gain sqrt(2) below, as is common for actor-critics; a small one in the head keeps the first policy nearly
        # uniform.
        super().__init__(
            [linear(below, above, math.sqrt(2), generator) for below, above in zip(sizes, hidden, strict=False)]
        )
        if layer_norm:
            for layer, width in zip(self, hidden, strict=True):
                layer.add_module("norm", nn.LayerNorm(width))
        self._activation = activation_of(activation)
        self.size = sizes[-1]
        self._see = as_floats if inputs.is_one else inputs
        self.relist()

    def forward(self, observations: Values) -> Tensor:
        """Features [..., size] of observations [..., D]."""
        inputs = self._see(observations)
        activation = self._activation
        if self._norms:
            for (weight, bias), normalized in zip(self._layers, self._norms, strict=True):
                inputs = activation(normalized(functional.linear(inputs, weight, bias)))
            return inputs
        for weight, bias in self._layers:
            inputs = activation(functional.linear(inputs, weight, bias))
        return inputs

    def perceptron(self, head: Linear) -> Perceptron | None:
        """These layers and a head's, to be passed by hand; None where there is more than that to pass."""
        if self._norms or self._see is not as_floats or self._activation not in DERIVED:
            return None
        return Perceptron([*self._layers, (head.weight, head.bias)], self._activation)

    def relist(self) -> None:
        """See ``KeepsTensors``."""
        self._layers = [(layer.weight, layer.bias) for layer in (cast(Linear, each) for each in self)]
        norms = [cast(nn.LayerNorm, each.norm) for each in self if hasattr(each, "norm")]
        self._norms = [
            partial(functional.layer_norm, normalized_shape=each.normalized_shape, weight=each.weight, bias=each.bias)
            for each in norms
        ]


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
        ConfigError: there is no such encoder, or it does not fit.
        PluginError: there is no such class, it cannot be made, or its features do not fit.
    """
    name = settings.encoder or "auto"
    if name in ENCODERS:
        made = _built_in(spaces.observations, name, settings, generator)
        return made, made.size
    if ":" not in name:
        raise ConfigError(f"network.encoder: expected {', '.join(ENCODERS)} or package.module:Class, got {name!r}")
    seed = int(torch.randint(2**31, (), generator=generator))
    own = own_module("network.encoder", name, seed, spaces=spaces, settings=settings)
    size = demand_size("network.encoder", name, own)
    if ":" not in (settings.core or ""):  # a user's own core may take something else from a user's own encoder
        remedy = f"the last dimension has to be its size, {size}, the others those of the observations"
        for leading in ((ROWS,), (TIMES, ROWS)):
            seen = spaces.zeros(*leading)
            tried = partial(own.forward, seen)
            demand_shape(f"network.encoder: {name}", "forward", seen, (*leading, size), tried, remedy=remedy)
    return own, size


def make_features(spaces: Spaces, settings: NetworkSettings, generator: torch.Generator) -> nn.Module | None:
    """The encoder without the hidden layers of a built-in one, for a network that has others; None where it would be
    nothing but hidden layers.

    Raises:
        ConfigError, PluginError: see ``make_encoder``.
    """
    parts, kind = spaces.observations, settings.encoder or "auto"
    if kind not in ENCODERS:
        return make_encoder(spaces, settings, generator)[0]
    if all(_place(part, kind) == OTHER for part in leaves(parts)):
        return None
    return Features(parts, kind, settings, generator)


def _built_in(
    parts: Parts, name: str, settings: NetworkSettings, generator: torch.Generator
) -> "MLP | PictureEncoder | Combined":
    found = leaves(parts)
    pictures = any(part.is_picture for part in found)
    if name not in ("auto", "mlp") and not pictures:
        flat = flat_pictures(parts)
        why = f"{flat.what}: {flat.remedy}" if flat else "these observations have none: leave it out"
        raise ConfigError(f"network.encoder: expected pictures for {name!r} (bytes, three dimensions), and {why}")
    if (name == "mlp" or not pictures) and not any(map(needs_table, found)):
        return _hidden_layers(Inputs(parts), settings, generator)
    if isinstance(parts, Part) and pictures and name != "mlp":
        return _pictures(parts, name, settings, generator)
    return Combined(parts, name, settings, generator)


def _hidden_layers(inputs: Inputs, settings: NetworkSettings, generator: torch.Generator) -> MLP:
    return MLP(inputs, settings.hidden, settings.activation, generator, layer_norm=settings.layer_norm)


def _pictures(part: Part, kind: str, settings: NetworkSettings, generator: torch.Generator) -> PictureEncoder:
    return PictureEncoder(part, kind, generator, layer_norm=settings.layer_norm, precision=settings.precision)


class Features(nn.Module):
    """Features [..., size] of convolutions for each picture, of a table for each leaf with many categories, and beside
    them all other numbers as they are.
    """

    def __init__(self, parts: Parts, kind: str, settings: NetworkSettings, generator: torch.Generator) -> None:
        super().__init__()
        found = leaves(parts)
        self._parts = parts
        self._places = [_place(part, kind) for part in found]
        pictures, tables, others = self._sorted(found)
        self.pictures = nn.ModuleList(_pictures(part, kind, settings, generator) for part in pictures)
        self.tables = nn.ModuleList(Embedding(part, generator) for part in tables)
        self._inputs = Inputs(tuple(others))
        self.size = self._inputs.size + sum(cast(Encoder, each).size for each in (*self.pictures, *self.tables))

    def forward(self, observations: Values) -> Tensor:
        """See ``Encoder``."""
        pictures, tables, others = self._sorted([each for _, each in values_of(self._parts, observations)])
        found = [encode(each) for encode, each in zip(self.pictures, pictures, strict=True)]
        found += [encode(each) for encode, each in zip(self.tables, tables, strict=True)]
        if others:
            found.append(self._inputs(tuple(others)))
        return torch.cat(found, -1)

    def _sorted(self, each_leaf: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """What belongs to pictures, to leaves with a table, and to others."""
        groups: tuple[list[Any], list[Any], list[Any]] = [], [], []
        for place, each in zip(self._places, each_leaf, strict=True):
            groups[place].append(each)
        return groups


class Combined(Features):
    """Hidden layers over all of them."""

    def __init__(self, parts: Parts, kind: str, settings: NetworkSettings, generator: torch.Generator) -> None:
        super().__init__(parts, kind, settings, generator)
        self.hidden = _hidden_layers(Inputs(Part((self.size,))), settings, generator)
        self.size = self.hidden.size

    def forward(self, observations: Values) -> Tensor:
        """See ``Encoder``."""
        return self.hidden.forward(super().forward(observations))


def _place(part: Part, kind: str) -> int:
    if part.is_picture and kind != "mlp":
        return PICTURE
    return TABLE if needs_table(part) else OTHER
