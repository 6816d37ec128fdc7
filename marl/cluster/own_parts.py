"""Finds the parts of a run that may be a user's own, and tries them before any process starts."""

import contextlib
from collections.abc import Iterator
from types import FunctionType
from typing import cast

import torch
from torch import nn

from marl.algorithms.base import demand_learns_from, demand_recurrent, demand_stateless
from marl.algorithms.build import build_network, make_sampler
from marl.cluster.memory_demand import demand_room
from marl.config.settings import Config
from marl.data.layout import is_empty
from marl.data.node.memory import NUM_VECTORS
from marl.data.sound import demand_sound
from marl.data.spaces import Spaces
from marl.errors import MarlError, MessageRefused, PluginError
from marl.networks.contract import Acts
from marl.networks.distributions import ActionRule
from marl.networks.sampling import Rank
from marl.plugins import foreign_code, load_module

STEPS, COUNT = 2, 3  # steps and environments with which parts are tried
MODE_DEPENDENT = (
    nn.modules.dropout._DropoutNd,
    nn.modules.batchnorm._BatchNorm,
)  # behave differently in training and in evaluation


def plugin_names(config: Config) -> Iterator[str]:
    """Every ``package.module:object`` that the settings name."""
    names = [config.environment.id, *config.network.own.values(), config.exploration.sampler, config.algorithm.name]
    names.append(config.exchange.name)
    return (name for name in names if ":" in name)


def modules_of(name: str) -> set[str]:
    """The module that ``package.module:object`` names, and the module of the same package that defines the object."""
    module, _, attribute = name.partition(":")
    found = getattr(load_module(module), attribute, None)
    defined = str(found.__module__) if isinstance(found, (type, FunctionType)) else module
    return {module, defined} if defined.partition(".")[0] == module.partition(".")[0] else {module}


def try_parts(config: Config, spaces: Spaces) -> nn.Module:
    """The run's network with its initial weights. A user's network and sampler are tried on zeros first.

    Raises:
        MarlError: a part cannot work. Without this check, each worker would fail, one after another.
    """
    algorithm = config.algorithm
    if ":" not in algorithm.name and not config.network.own:  # a user's code could keep tensors of the meta device
        _demand_memory(config, spaces)
    parts = (algorithm.name, *config.network.own.values(), config.exploration.sampler)
    names = [name for name in parts if ":" in name]
    if not names:
        return build_network(algorithm, spaces, config.network, config.seed or 0)
    demand_learns_from(algorithm)
    try:
        with foreign_code(" with ".join(names)):
            network = build_network(algorithm, spaces, config.network, config.seed or 0)
        with _unchanged(network):
            _try_acting(config, spaces, network)
    except MarlError:
        raise
    except Exception as error:
        raise PluginError(f"{' with '.join(names)} cannot act: {type(error).__name__}: {error}") from error
    return network


@contextlib.contextmanager
def _unchanged(network: nn.Module) -> Iterator[None]:
    """Restore the network's numbers after the block: they are the run's initial weights."""
    tensors = [*network.parameters(), *network.buffers()] if isinstance(network, nn.Module) else []
    before = [each.detach().clone() for each in tensors]
    yield
    with torch.no_grad():
        for tensor, initial in zip(tensors, before, strict=True):
            tensor.copy_(initial)


def _demand_memory(config: Config, spaces: Spaces) -> None:
    """Refuse a network whose weights, gradient and shared memory have no room on this machine.

    Raises:
        ConfigError: more than is free.
    """
    with torch.device("meta"):  # nothing is allocated there
        network = build_network(config.algorithm, spaces, config.network)
    numbers = sum(each.numel() for each in network.parameters())
    demand_room(4 * numbers * (2 + 1 + NUM_VECTORS), f"network.hidden = {list(config.network.hidden)}")


def _try_acting(config: Config, spaces: Spaces, network: nn.Module) -> None:
    """Act once, and check all shapes that a trajectory consists of."""
    if not isinstance(network, nn.Module):
        raise PluginError(
            f"{config.algorithm.name}: expected build_network to make a torch module, got {network!r:.80}"
        )
    own = " with ".join(config.network.own.values())
    for module in network.modules():
        if isinstance(module, MODE_DEPENDENT):
            raise PluginError(
                f"{own or config.algorithm.name}: expected layers that do the same in play and in "
                f"training, got {type(module).__name__}: use LayerNorm, or leave it out"
            )
    for method in ("distribution", "initial_state", "step"):
        if not hasattr(network, method):
            raise PluginError(
                f"{own or config.algorithm.name}: expected a network with distribution, initial_state and step, as "
                f"marl.networks.contract.Stateless has them, and {type(network).__name__} lacks {method}"
            )
    acts = cast(Acts, network)
    distribution: ActionRule = acts.distribution
    state = acts.initial_state(COUNT)
    network_of = own or f"the network of {config.algorithm.name}"
    if is_empty(state):
        demand_recurrent(config.algorithm, network_of, "set it to 0")
    else:
        demand_stateless(config.algorithm, network_of)
    sampler = make_sampler(config.algorithm, config.exploration, network, Rank(0, 1))
    with torch.no_grad():
        parameters = acts.step(spaces.zeros(COUNT), state).parameters
        noise = sampler.noise((STEPS, COUNT), torch.Generator())
        actions, behaviour = sampler.act(parameters, noise[0])
    who = config.exploration.sampler or own or config.algorithm.name
    behaved = (COUNT, distribution.num_parameters)
    for what, came, expected in (
        ("parameters of the policy", tuple(parameters.shape), behaved),
        ("noise", tuple(noise.shape[:2]), (STEPS, COUNT)),
        ("actions", tuple(actions.shape), (COUNT, *spaces.action.shape)),
        ("parameters that acted", tuple(behaviour.shape), behaved),
    ):
        if came != expected:
            raise PluginError(f"{who}: expected {what} of shape {list(expected)}, got {list(came)}")
    if spaces.discrete and actions.is_floating_point():
        raise PluginError(f"{who}: expected whole numbers as actions, got {actions.tolist()}")
    try:
        demand_sound(spaces.action, actions, f"{who}: expected sound actions, got")
    except MessageRefused as error:
        raise PluginError(str(error)) from error
