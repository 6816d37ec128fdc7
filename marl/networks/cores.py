"""What remembers, between encoder and heads: nothing, a built-in recurrent core, or a user's own."""

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from marl.data.layout import Values, on_device, steps
from marl.networks.contract import State, renewed
from marl.networks.own_module import demand_size, own_module
from marl.networks.recurrent.gated import GRU, LSTM, Gated
from marl.networks.settings import NetworkSettings

CORES = {"gru": GRU, "lstm": LSTM}


class Core(Protocol):
    """A torch module. A user's own is made as ``Class(features, settings)``; ``features`` is the encoder's size."""

    size: int  # features that it makes itself

    def initial_state(self, rows: int) -> State:
        """With which an episode begins, for this many environments: a tree of tensors [B, ...]."""

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Features [B, size] of the encoder's [B, features] and of what is remembered; what is remembered next."""


def make_core(features: int, settings: NetworkSettings, generator: torch.Generator) -> tuple[nn.Module, int] | None:
    """The core that the settings name, and how many features it makes; None where nothing is to be remembered.

    Raises:
        PluginError: there is no such class, or it cannot be made.
    """
    name = settings.core
    if name is None or not settings.remembers:
        return None
    if name in CORES:
        return CORES[name](features, settings.core_size, generator), settings.core_size
    seed = int(torch.randint(2**31, (), generator=generator))
    own = own_module("network.core", name, seed, features=features, settings=settings)
    return own, demand_size("network.core", name, own)


def warmed(core: nn.Module, features: Values, state: State, resets: Tensor) -> State:
    """What is remembered after features [S, B, F], for the step that follows; ``resets`` [S + 1, B]."""
    remembers = cast(Core, core)
    initial = on_device(remembers.initial_state(resets.shape[1]), resets.device)
    state = on_device(state, resets.device)
    for now, fresh in zip(steps(features), resets[1:].unbind(), strict=True):
        state = renewed(remembers.step(now, state)[1], fresh, initial)
    return state


def unrolled(core: nn.Module, features: Values, state: State, resets: Tensor) -> Tensor:
    """Features [S, B, size] of features [S, B, F], one step after the other; these may be a tree."""
    state = on_device(state, resets.device)
    if isinstance(core, Gated):
        return core.unroll(features, state, resets)
    remembers, found = cast(Core, core), []
    # A core may make its initial state on the CPU while a learner's features are on another device.
    initial = on_device(remembers.initial_state(resets.shape[1]), resets.device)
    for now, fresh in zip(steps(features), resets.unbind(), strict=True):
        made, state = remembers.step(now, renewed(state, fresh, initial))
        found.append(made)
    return torch.stack(found)
