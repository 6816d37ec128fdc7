"""Which network a run's settings ask for: the algorithm's own, or a user's ``package.module:Class``."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from marl.data.layout import header_of, is_empty
from marl.data.spaces import Spaces
from marl.errors import ConfigError, MarlError, PluginError
from marl.networks.actor_critic import ActorCritic
from marl.networks.contract import Policy, State
from marl.networks.q_network import QNetwork
from marl.networks.settings import NetworkSettings
from marl.plugins import load_object

TIMES, ROWS = 3, 2  # of a trial


def actor_critic(spaces: Spaces, settings: NetworkSettings, seed: int) -> nn.Module:
    """A policy and a value: a ``Policy``, as a network of one's own has to be.

    Raises:
        PluginError: there is no such class, or it is no such network.
    """
    if not settings.name:
        return ActorCritic(spaces, settings, seed)
    network = _own(spaces, settings, seed)
    for method in ("initial_state", "step", "unroll"):
        if not callable(getattr(network, method, None)):
            raise PluginError(
                f"network.name: expected {settings.name} to have distribution, initial_state, step and unroll, as "
                "marl.networks.contract.Policy says (marl.networks.contract.StatelessCritic makes them of policy and "
                f"values), it lacks {method}"
            )
    _try_policy(settings.name, spaces, network, cast(Policy, network))
    return network


def _try_policy(name: str, spaces: Spaces, network: nn.Module, policy: Policy) -> None:
    """Refuse a network whose answers do not fit."""
    outputs = _acting_parameters(network, name)
    state = policy.initial_state(ROWS)
    seen = spaces.zeros(TIMES, ROWS)  # S = T + 1
    resets = None if is_empty(state) else torch.zeros(TIMES, ROWS, dtype=torch.bool)

    def step() -> Tensor:
        decision = policy.step(seen[0], state)
        _demand_same_state(name, state, decision.state)
        return decision.parameters

    def unrolled(observations: Tensor, number: int, acted: int) -> Callable[[], Tensor]:
        return lambda: policy.unroll(observations, state, resets, acted)[number]

    _demand_shape(name, "step", seen[0], (ROWS, outputs), step)
    for acted in (TIMES - 1, TIMES, 0):
        _demand_shape(name, "the parameters of unroll", seen, (acted, ROWS, outputs), unrolled(seen, 0, acted))
        _demand_shape(name, "the values of unroll", seen, (TIMES, ROWS), unrolled(seen, 1, acted))
    if resets is None:
        _demand_shape(name, "the values of unroll", seen[0], (ROWS,), unrolled(seen[0], 1, ROWS))


def _demand_same_state(name: str, before: State, after: State) -> None:
    if header_of(before) != header_of(after):
        raise PluginError(
            f"network.name: expected {name} to make a state {header_of(before)} of one like it, got {header_of(after)}"
        )


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
    except MarlError:
        raise
    except Exception as error:
        raise PluginError(f"network.name: {asked}, it failed: {type(error).__name__}: {error}") from error
    if shape != expected:
        raise PluginError(f"network.name: {asked}, got {list(shape)}")
