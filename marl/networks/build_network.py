"""Which network a run's settings ask for: the algorithm's own, or a user's ``package.module:Class``."""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from marl.data.layout import Values, at, header_of, is_empty, mapped
from marl.data.spaces import Spaces
from marl.errors import ConfigError, MarlError, PluginError
from marl.networks.actor_critic import ActorCritic, RecurrentActorCritic
from marl.networks.contract import Acts, Policy, State
from marl.networks.masked import Masked, MaskedActionValues, MaskedRecurrentActionValues
from marl.networks.own_module import own_module
from marl.networks.q_network import QNetwork, RecurrentQNetwork
from marl.networks.sac_network import SACNetwork
from marl.networks.settings import NetworkSettings
from marl.networks.stepped import Stepped

TIMES, ROWS = 3, 2  # of a trial


def actor_critic(spaces: Spaces, settings: NetworkSettings, seed: int) -> nn.Module:
    """A policy and a value: a ``Policy``, as a network of one's own has to be.

    Raises:
        PluginError: there is no such class, or it is no such network.
    """
    if spaces.mask is not None:
        return Masked(actor_critic(spaces.unmasked, settings, seed), spaces)
    who = ", ".join(f"{key}: {name}" for key, name in settings.own.items())
    if not settings.name:
        kind = RecurrentActorCritic if settings.remembers else ActorCritic
        network: nn.Module = kind(spaces, settings, seed)
        if who:
            _try_policy(who, spaces, network)
        return network
    network = _own(spaces, settings, seed)
    for method in ("initial_state", "step", "unroll"):
        if not callable(getattr(network, method, None)):
            raise PluginError(
                f"network.name: expected {settings.name} to have distribution, initial_state, step and unroll, as "
                "marl.networks.contract.Policy says (marl.networks.contract.StatelessCritic makes them of policy and "
                f"values), it lacks {method}"
            )
    _try_policy(who, spaces, network)
    return network


def _own(spaces: Spaces, settings: NetworkSettings, seed: int) -> nn.Module:
    return own_module("network.name", settings.name, seed, spaces=spaces, settings=settings, seed=seed)


def _try_policy(who: str, spaces: Spaces, network: nn.Module) -> None:
    """Refuse a network whose answers do not fit.

    Args:
        who: the settings that name it, and its name.
    """
    outputs, policy = _acting_parameters(network, who), cast(Policy, network)
    state = _initial_state(who, policy)
    seen = spaces.zeros(TIMES, ROWS)  # S = T + 1
    first = at(seen, 0)
    resets = None if is_empty(state) else torch.zeros(TIMES, ROWS, dtype=torch.bool)

    def step() -> Tensor:
        decision = policy.step(first, state)
        _demand_same_state(who, state, decision.state)
        return decision.parameters

    def unrolled(observations: Values, number: int, acted: int) -> Callable[[], Tensor]:
        return lambda: policy.unroll(observations, state, resets, acted)[number]

    _demand_shape(who, "step", first, (ROWS, outputs), step)
    for acted in (TIMES - 1, TIMES, 0):
        _demand_shape(who, "the parameters of unroll", seen, (acted, ROWS, outputs), unrolled(seen, 0, acted))
        _demand_shape(who, "the values of unroll", seen, (TIMES, ROWS), unrolled(seen, 1, acted))
    if resets is None:
        _demand_shape(who, "the values of unroll", first, (ROWS,), unrolled(first, 1, ROWS))


def _initial_state(who: str, policy: Acts) -> State:
    try:
        with torch.no_grad():
            state = policy.initial_state(ROWS)
            rows = [shape[:1] for _, _, shape in header_of(state)]
    except Exception as error:
        raise PluginError(f"{who}: initial_state failed: {type(error).__name__}: {error}") from error
    if any(each != (ROWS,) for each in rows):
        expected = f"initial_state({ROWS}) to make tensors [{ROWS}, ...]"
        raise PluginError(f"{who}: expected {expected}, got {header_of(state)}")
    return state


def _demand_same_state(who: str, before: State, after: State) -> None:
    if header_of(before) != header_of(after):
        raise PluginError(f"{who}: expected a state {header_of(before)} of one like it, got {header_of(after)}")


def q_network(spaces: Spaces, settings: NetworkSettings, seed: int, *, dueling: bool) -> nn.Module:
    """Values of actions and their older copy. A network of one's own makes only the values: in ``policy``, or where it
    remembers in ``step``.

    Raises:
        PluginError: there is no such class, or it is no such network.
    """
    if spaces.mask is not None:
        inner = q_network(spaces.unmasked, settings, seed, dueling=dueling)
        masked = MaskedRecurrentActionValues if isinstance(inner, RecurrentQNetwork) else MaskedActionValues
        return masked(inner, spaces)
    own = _own(spaces, settings, seed) if settings.name and spaces.discrete else None
    if own is not None and _remembers(own, settings.name):
        own = Stepped(own)
    kind = RecurrentQNetwork if settings.remembers or isinstance(own, Stepped) else QNetwork
    if not settings.own:
        return kind(spaces, settings, seed, dueling=dueling)
    if own is not None and kind is QNetwork and not callable(getattr(own, "policy", None)):
        raise PluginError(
            f"network.name: expected {settings.name} to have policy(observations), the value of each action, as "
            "marl.networks.contract.Stateless says, or where it remembers initial_state and step, it lacks policy"
        )
    network = kind(spaces, settings, seed, dueling=dueling and not settings.name, online=own)
    who = ", ".join(f"{key}: {name}" for key, name in settings.own.items())
    _demand_followed(who, network, network)
    seen = spaces.zeros(TIMES, ROWS)
    if isinstance(network, QNetwork):
        _demand_shape(who, "policy", seen, (TIMES, ROWS, spaces.num_actions), lambda: network.policy(seen))
    else:
        _try_remembering(who, seen, spaces.num_actions, network)
    return network


def _remembers(own: nn.Module, name: str) -> bool:
    """Whether a network of one's own has a state."""
    has_both = all(callable(getattr(own, method, None)) for method in ("initial_state", "step"))
    return has_both and not is_empty(_initial_state(f"network.name: {name}", cast(Acts, own)))


def _try_remembering(who: str, seen: Values, num_actions: int, network: RecurrentQNetwork) -> None:
    """Refuse a core whose answers do not fit."""
    state, first = _initial_state(who, network), at(seen, 0)
    resets = torch.zeros(TIMES, ROWS, dtype=torch.bool)

    def step() -> Tensor:
        decision = network.step(first, state)
        _demand_same_state(who, state, decision.state)
        return decision.parameters

    _demand_shape(who, "step", first, (ROWS, num_actions), step)
    for unroll in (network.unroll, network.unroll_target):
        _demand_shape(who, "unroll", seen, (TIMES, ROWS, num_actions), partial(unroll, seen, state, resets))
    with torch.enable_grad():
        learns = network.unroll(seen, state, resets).requires_grad
    if not learns:
        raise PluginError(
            f"{who}: expected step to keep the gradient, which learning needs, got parameters without one: leave out "
            "torch.no_grad and detach"
        )


def sac_network(spaces: Spaces, settings: NetworkSettings, seed: int, *, temperature: float) -> SACNetwork:
    """A policy, two critics and their older copies. An encoder of one's own is made for the policy, and again for the
    critics.

    Raises:
        ConfigError: the settings name another part of one's own, or the actions do not fit.
        PluginError: there is no such encoder, or it does not fit.
    """
    for key, name in settings.own.items():
        if key != "network.encoder":
            raise ConfigError(f"{key}: sac takes an encoder of your own, and no other part: leave out {name!r}")
    network = SACNetwork(spaces, settings, seed, temperature=temperature)
    if settings.own:
        who = f"network.encoder: {settings.encoder}"
        _demand_followed(who, network, network.critics)
        seen, size = spaces.zeros(TIMES, ROWS), network.distribution.size
        _demand_shape(who, "policy", seen, (TIMES, ROWS, 2 * size), lambda: network.policy(seen))
        first, actions = at(seen, 0), torch.zeros(ROWS, size)
        _demand_shape(who, "the critics' values", first, (2, ROWS), lambda: network.values(first, actions))
    return network


def _demand_followed(who: str, network: nn.Module, learned: nn.Module) -> None:
    """Refuse buffers besides the older copy of what is ``learned``."""
    if sum(each.numel() for each in network.buffers()) != sum(each.numel() for each in learned.parameters()):
        raise PluginError(f"{who} has buffers or tied parameters, which a target network cannot follow")


def _acting_parameters(network: nn.Module, who: str) -> int:
    outputs = getattr(getattr(network, "distribution", None), "num_parameters", None)
    if not isinstance(outputs, int):
        raise PluginError(
            f"{who}: expected it to have a distribution (marl.networks.distributions.distribution_for makes the one "
            "that fits the spaces)"
        )
    return outputs


def _demand_shape(who: str, method: str, seen: Values, expected: tuple[int, ...], answer: Callable[[], Tensor]) -> None:
    """Refuse a network before any process starts rather than in the first batch."""
    shapes = mapped(lambda each: list(each.shape), seen)
    asked = f"{who}: expected {method} to make {list(expected)} of observations {shapes}"
    try:
        with torch.no_grad():
            shape = tuple(answer().shape)
    except MarlError:
        raise
    except Exception as error:
        raise PluginError(f"{asked}, it failed: {type(error).__name__}: {error}") from error
    if shape != expected:
        raise PluginError(f"{asked}, got {list(shape)}")
