"""Which network a run's settings ask for: the algorithm's own, or a user's ``package.module:Class``."""

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from marl.data.spaces import Spaces
from marl.errors import ConfigError, MarlError, PluginError
from marl.networks.actor_critic import ActorCritic
from marl.networks.distributions import Distribution
from marl.networks.q_network import QNetwork
from marl.networks.settings import NetworkSettings
from marl.plugins import load_object


class Critic(Protocol):
    """What actor-critic algorithms ask of a network, with observations flat; ``ActorCritic`` is one."""

    distribution: Distribution

    def policy(self, observations: Tensor) -> Tensor:
        """Distribution parameters [..., P] of observations [..., D]."""

    def values(self, observations: Tensor) -> Tensor:
        """Values [...] of observations [..., D]."""

    def policy_and_values(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters [T, B, P] of the first T and values [T + 1, B] of all observations [T + 1, B, D]."""


def actor_critic(spaces: Spaces, settings: NetworkSettings, seed: int) -> ActorCritic:
    """A policy and a value; a network of one's own keeps the promises of ``Critic``.

    Raises:
        PluginError: there is no such class, or it is no such network.
    """
    if not settings.name:
        return ActorCritic(spaces, settings, seed)
    network = cast(ActorCritic, _own(spaces, settings, seed))
    for method in ("policy", "values", "policy_and_values"):
        if not callable(getattr(network, method, None)):
            raise PluginError(
                f"network.name: expected {settings.name} to have distribution, policy, values and policy_and_values, "
                f"as marl.networks.actor_critic.ActorCritic has, it lacks {method}"
            )
    outputs = _acting_parameters(network, settings.name)
    seen = spaces.zeros(3, 2)  # T + 1 = 3, B = 2
    _demand_shape(settings.name, "policy", seen, (3, 2, outputs), lambda: network.policy(seen))
    _demand_shape(settings.name, "values", seen, (3, 2), lambda: network.values(seen))
    both = f"{settings.name}: policy_and_values"
    _demand_shape(both, "parameters", seen, (2, 2, outputs), lambda: network.policy_and_values(seen)[0])
    _demand_shape(both, "values", seen, (3, 2), lambda: network.policy_and_values(seen)[1])
    return network


def q_network(spaces: Spaces, settings: NetworkSettings, seed: int, *, dueling: bool) -> QNetwork:
    """Values of actions and their older copy; a network of one's own makes only the values, in ``forward``.

    Raises:
        PluginError: there is no such class, or it is no such network.
    """
    if not settings.name:
        return QNetwork(spaces, settings, seed, dueling=dueling)
    own = None if not spaces.discrete else _own(spaces, settings, seed)
    network = QNetwork(spaces, settings, seed, dueling=False, online=own)
    if sum(each.numel() for each in network.buffers()) != sum(each.numel() for each in network.parameters()):
        raise PluginError(
            f"network.name: {settings.name} has buffers or tied parameters, which a target network cannot follow"
        )
    seen = spaces.zeros(3, 2)
    _demand_shape(settings.name, "forward", seen, (3, 2, spaces.num_actions), lambda: network.policy(seen))
    return network


def refuse_own(settings: NetworkSettings, algorithm: str) -> None:
    """For an algorithm whose network has so many parts that only its own fits.

    Raises:
        ConfigError: the settings name another.
    """
    if settings.name:
        raise ConfigError(f"network.name: {algorithm} builds a network of its own: leave out {settings.name!r}")


def _own(spaces: Spaces, settings: NetworkSettings, seed: int) -> nn.Module:
    made = load_object(settings.name)
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise PluginError(
            f"network.name: expected a class that derives from torch.nn.Module, {settings.name} is {made!r:.80}"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # which the layers of torch itself draw from
            network: nn.Module = made(spaces, settings, seed)
    except MarlError:
        raise
    except Exception as error:  # whatever a user's constructor does
        raise PluginError(
            f"network.name: {settings.name}(spaces, settings, seed) failed: {type(error).__name__}: {error}"
        ) from error
    return network


def _acting_parameters(network: nn.Module, name: str) -> int:
    outputs = getattr(getattr(network, "distribution", None), "num_parameters", None)
    if not isinstance(outputs, int):
        raise PluginError(
            f"network.name: expected {name} to have a distribution (marl.networks.distributions.distribution_for makes "
            "the one that fits the spaces)"
        )
    return outputs


def _demand_shape(
    name: str, method: str, seen: Tensor, expected: tuple[int, ...], answer: Callable[[], Tensor]
) -> None:
    """Refuse a network before any process starts rather than in the first batch."""
    asked = f"{name}: expected {method} to make {list(expected)} of observations {list(seen.shape)}"
    try:
        with torch.no_grad():
            shape = tuple(answer().shape)
    except Exception as error:
        raise PluginError(f"network.name: {asked}, it failed: {type(error).__name__}: {error}") from error
    if shape != expected:
        raise PluginError(f"network.name: {asked}, got {list(shape)}")
