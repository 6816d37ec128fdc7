"""The contract of a policy: whatever acts or learns reaches a network by these methods.

Observations are a tensor, or a tree of them where the space is one.

The state is what a network remembers from one step to the next: a tree (dictionaries and plain tuples) of tensors
[B, ...], one row for each environment. A network that remembers nothing has the empty state, ``()``. An episode begins
with ``initial_state``.
"""

from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from marl.data.layout import Leaf, Tree, Values, at, mapped
from marl.networks.distributions import ActionRule, Distribution

State: TypeAlias = Values


class Decision(NamedTuple):
    """What a network says of one observation of each environment."""

    parameters: Tensor  # [B, P]  of the distribution of actions
    values: Tensor | None  # [B]; None where they would cost a pass of their own
    state: State  # [B, ...]  for the next step


class Outputs(NamedTuple):
    """What a network says of a trajectory."""

    parameters: Tensor  # [A, B, P]  of the first A observations
    values: Tensor  # [S, B]


class Acts(Protocol):
    """What acting asks of a network."""

    @property
    def distribution(self) -> ActionRule:
        """What its parameters are of."""

    def initial_state(self, rows: int) -> State:
        """With which the first step of an episode is decided, for this many environments."""

    def step(self, observations: Values, state: State) -> Decision:
        """Of observations [B, D] and what is remembered of the steps before."""


class Policy(Acts, Protocol):
    """What learning from trajectories asks as well."""

    @property
    def distribution(self) -> Distribution:
        """What its parameters are of."""

    def unroll(self, observations: Values, state: State, resets: Tensor | None, acted: int) -> Outputs:
        """The same as ``step``, one observation after the other, with a gradient.

        Args:
            observations: [S, B, D]; where nothing is remembered also without an order, [N, D].
            state: before the first of them.
            resets: [S, B]  where an episode begins: the initial state takes the place of what is remembered. None where
                nothing is. ``initial_state`` may be on the CPU while a learner's observations are on another device.
            acted: of how many observations, from the first, the parameters are wanted.
        """


class ActionValuePolicy(Acts, Protocol):
    """What learning the values of actions from single transitions asks as well."""

    def policy(self, observations: Values) -> Tensor:
        """Values [..., A] of all actions, with a gradient."""

    def target(self, observations: Values) -> Tensor:
        """The same by an older copy of the network."""


class RecurrentActionValues(Acts, Protocol):
    """What learning the values of actions from whole sequences asks, of a network that remembers. Both are as
    ``Policy.unroll``, each with the state that the learned network had before the first observation.
    """

    def unroll(self, observations: Values, state: State, resets: Tensor) -> Tensor:
        """Values [S, B, A] of all actions, with a gradient."""

    def unroll_target(self, observations: Values, state: State, resets: Tensor) -> Tensor:
        """The same by an older copy of the network."""

    def warm(self, observations: Values, state: State, resets: Tensor) -> tuple[State, State]:
        """What the network and its copy remember after observations [S, B, D]; ``resets`` [S + 1, B], the last for the
        observation that follows.
        """


class Stateless(nn.Module):
    """A network that remembers nothing: its ``policy`` is all that a step needs."""

    def policy(self, observations: Values) -> Tensor:
        """Distribution parameters [..., P] of observations [..., D]."""
        raise NotImplementedError("a network without memory has to have policy(observations)")

    def initial_state(self, unused_rows: int) -> State:
        """See ``Acts``."""
        return ()

    def step(self, observations: Values, state: State) -> Decision:
        """See ``Acts``."""
        return Decision(self.policy(observations), None, state)


class StatelessCritic(Stateless):
    """Likewise with a value of each observation; ``unroll`` may be written again where both have layers in common."""

    def values(self, observations: Values) -> Tensor:
        """Values [...] of observations [..., D]."""
        raise NotImplementedError("a critic without memory has to have values(observations)")

    def unroll(self, observations: Values, unused_state: State, unused_resets: Tensor | None, acted: int) -> Outputs:
        """See ``Policy``."""
        return Outputs(self.policy(at(observations, slice(acted))), self.values(observations))


def renewed(state: State, fresh: Tensor, initial: State) -> State:
    """The state in which the rows that are ``fresh`` [B] begin an episode; the others are as they were."""

    def choose(kept: Tensor, new: Tensor) -> Tensor:
        return torch.where(fresh.view(-1, *[1] * (kept.ndim - 1)), new, kept)

    return mapped(choose, state, initial)


def state_tree(network: Any) -> Tree:
    """What a network remembers of one environment."""
    tree: Tree = mapped(lambda each: Leaf(tuple(each.shape[1:]), each.dtype), network.initial_state(1))
    return tree
