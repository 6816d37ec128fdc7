"""Encoder, core and head, one on the other: all of a network but what its outputs mean."""

import copy
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from marl.data.layout import Values
from marl.data.spaces import Spaces
from marl.networks.contract import State
from marl.networks.cores import Core, make_core, unrolled, warmed
from marl.networks.encoders.by_hand import Perceptron
from marl.networks.encoders.inputs import Inputs
from marl.networks.encoders.make_encoder import MLP, make_encoder
from marl.networks.heads import Linear, forward_of, make_head
from marl.networks.kept_tensors import KeepsTensors
from marl.networks.settings import NetworkSettings

Network = TypeVar("Network", bound=nn.Module)


class Torso(KeepsTensors):
    """Outputs [..., outputs] of observations [..., D]."""

    def __init__(
        self,
        spaces: Spaces,
        settings: NetworkSettings,
        outputs: int,
        *,
        head_gain: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.hidden, size = make_encoder(spaces, settings, generator)
        found = make_core(size, settings, generator)
        self.core: nn.Module | None = None
        if found is not None:
            self.core, size = found
        self.size = size  # features that the head sees
        self.head = make_head(size, outputs, settings, head_gain, generator)
        self.relist()

    def forward(self, observations: Values) -> Tensor:
        """Where there is no core."""
        encode, head = self._listed
        return head(encode(observations))

    def initial_state(self, rows: int) -> State:
        """Of the core."""
        return cast(Core, self.core).initial_state(rows)

    def step(self, observations: Values, state: State) -> tuple[Tensor, State]:
        """Outputs [B, outputs] of observations [B, D], and the core's next state."""
        features, state = self.step_features(observations, state)
        return self.outputs(features), state

    def unroll(self, observations: Values, state: State, resets: Tensor) -> Tensor:
        """Outputs [S, B, outputs] of observations [S, B, D], one step after the other."""
        return self.outputs(self.unroll_features(observations, state, resets))

    def step_features(self, observations: Values, state: State) -> tuple[Tensor, State]:
        """What the core makes of observations [B, D], and its next state."""
        return cast(Core, self.core).step(self._listed[0](observations), state)

    def unroll_features(self, observations: Values, state: State, resets: Tensor) -> Tensor:
        """What the core makes of observations [S, B, D], one step after the other."""
        return unrolled(cast(nn.Module, self.core), self._listed[0](observations), state, resets)

    def outputs(self, features: Tensor) -> Tensor:
        """Outputs [..., outputs] of what the core makes."""
        return self._listed[1](features)

    def warm(self, observations: Values, state: State, resets: Tensor) -> State:
        """What is remembered after observations [S, B, D]; ``resets`` [S + 1, B], the last for what follows."""
        encode, _ = self._listed
        return warmed(cast(nn.Module, self.core), encode(observations), state, resets)

    def perceptron(self) -> Perceptron | None:
        """All of it, to be passed by hand; None where it is anything else."""
        if self.core is None and isinstance(self.hidden, MLP) and isinstance(self.head, Linear):
            return self.hidden.perceptron(self.head)
        return None

    def relist(self) -> None:
        """See ``KeepsTensors``."""
        self._listed = self.hidden.forward, forward_of(self.head)


class BodySize(NamedTuple):
    """Of an encoder, with its core, that were not built."""

    numbers: int  # weights and biases
    tensors: int
    features: int  # that a head sees
    inputs: int  # numbers that the encoder sees, with a 1 or 0 for each category


def body_size(spaces: Spaces, settings: NetworkSettings) -> BodySize:
    """How large the encoder and the core are that settings name, none of a user's own; takes no memory for them.

    Raises:
        ConfigError: see ``make_encoder``.
    """
    generator = torch.Generator(device="cpu")
    with torch.device("meta"):
        encoder, features = make_encoder(spaces, settings, generator)
        found = make_core(features, settings, generator)
    tensors = list(encoder.parameters())
    if found is not None:
        core, features = found
        tensors += core.parameters()
    inputs = Inputs(spaces.observations).size
    return BodySize(sum(each.numel() for each in tensors), len(tensors), features, inputs)


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
        if isinstance(module, KeepsTensors):
            module.relist()
    return copied
