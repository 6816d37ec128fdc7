"""Which network a run's settings ask for: the algorithm's own, or a user's ``package.module:Class``."""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from marl.data.layout import Values, at, header_of, is_empty
from marl.data.spaces import Spaces
from marl.errors import ConfigError, PluginError
from marl.networks.actor_critic import ActorCritic, RecurrentActorCritic
from marl.networks.contract import Acts, Policy, State
from marl.networks.masked import Masked, MaskedActionValues, MaskedRecurrentActionValues
from marl.networks.own_module import ROWS, TIMES, demand_shape, own_module
from marl.networks.q_network import QNetwork, RecurrentQNetwork
from marl.networks.sac_network import SACNetwork
from marl.networks.settings import NetworkSettings
from marl.networks.stepped import Stepped


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

    remedy = f"the last dimension has to be distribution.num_parameters, {outputs}"
    demand_shape(who, "step", first, (ROWS, outputs), step, remedy=remedy)
    one_each = "one number for each observation, without a last dimension of 1, as squeeze(-1) makes it"
    for acted in (TIMES - 1, TIMES, 0):
        parameters, values = unrolled(seen, 0, acted), unrolled(seen, 1, acted)
        of_acted = f"{remedy}, the first one acted, {acted}"
        demand_shape(who, "the parameters of unroll", seen, (acted, ROWS, outputs), parameters, remedy=of_acted)
        demand_shape(who, "the values of unroll", seen, (TIMES, ROWS), values, remedy=one_each)
    if resets is None:
        demand_shape(who, "the values of unroll", first, (ROWS,), unrolled(first, 1, ROWS), remedy=one_each)


def _initial_state(who: str, policy: Acts) -> State:
    try:
        with torch.no_grad():
            state = policy.initial_state(ROWS)
            rows = [shape[:1] for _, _, shape in header_of(state)]
    except Exception as error:
        raise PluginError(f"{who}: initial_state failed: {type(error).__name__}: {error}") from error
    if any(each != (ROWS,) for each in rows):
        expected = f"initial_state({ROWS}) to make tensors [{ROWS}, ...]"
        raise PluginError(f"{who}: expected {expected}, got {_words(state)}: the first dimension is its argument")
    return state


def _demand_same_state(who: str, before: State, after: State) -> None:
    if header_of(before) != header_of(after):
        raise PluginError(
            f"{who}: expected step to make a state like the one that it gets, {_words(before)}, got {_words(after)}: "
            "keep names, types and shapes"
        )


def _words(state: State) -> str:
    """The types and shapes of a state."""
    return ", ".join(f"{path} {dtype} {list(shape)}".lstrip() for path, dtype, shape in header_of(state)) or "nothing"


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
        expected, remedy = (TIMES, ROWS, spaces.num_actions), _each_action(spaces.num_actions)
        demand_shape(who, "policy", seen, expected, lambda: network.policy(seen), remedy=remedy)
    else:
        _try_remembering(who, seen, spaces.num_actions, network)
    return network


def _each_action(num_actions: int) -> str:
    return f"the last dimension has to be the values of the {num_actions} actions"


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

    expected, remedy = (ROWS, num_actions), _each_action(num_actions)
    demand_shape(who, "step", first, expected, step, remedy=remedy)
    for unroll in (network.unroll, network.unroll_target):
        demand_shape(who, "unroll", seen, (TIMES, *expected), partial(unroll, seen, state, resets), remedy=remedy)
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
        _demand_followed(f"network.encoder: {settings.encoder}", network, network.critics)
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
