"""Keeps a network from actions that the environment forbids: it sees the rest of the observation, and parameters of
what the mask forbids are lowered until nothing draws it.

Huang and Ontañón, "A Closer Look at Invalid Action Masking in Policy Gradient Algorithms" (2020): the masked policy is
a policy as any other, and its gradient the right one.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from marl.data.layout import Values, leaves
from marl.data.spaces import Spaces, mask_sizes, without
from marl.networks.contract import ActionValuePolicy, Decision, Outputs, Policy, RecurrentActionValues, State

FORBIDDEN = -1e32  # finite, for products with 0; beneath it no noise of a sampler decides (see ``OVERWHELMING``)


class Masked(nn.Module):
    """A ``Policy`` around another, which was made for the same spaces without the mask."""

    def __init__(self, inner: nn.Module, spaces: Spaces) -> None:
        super().__init__()
        self.inner = inner
        self.distribution = cast(Any, inner).distribution
        self._mask = cast(str, spaces.mask)
        self._sizes = mask_sizes(spaces.actions)
        self._places = _places(spaces, self.distribution.num_parameters)

    def initial_state(self, rows: int) -> State:
        """See ``Acts``."""
        return cast(Policy, self.inner).initial_state(rows)

    def step(self, observations: Values, state: State) -> Decision:
        """See ``Acts``."""
        decision = cast(Policy, self.inner).step(without(observations, self._mask), state)
        return decision._replace(parameters=self._lowered(decision.parameters, observations))

    def unroll(self, observations: Values, state: State, resets: Tensor | None, acted: int) -> Outputs:
        """See ``Policy``."""
        outputs = cast(Policy, self.inner).unroll(without(observations, self._mask), state, resets, acted)
        masks = {self._mask: observations[self._mask][:acted]}
        return outputs._replace(parameters=self._lowered(outputs.parameters, masks))

    def _lowered(self, parameters: Tensor, observations: Values) -> Tensor:
        allowed = observations[self._mask] > 0
        # Where nothing is allowed nobody acts: after an episode's end. Values there may count, if it was cut.
        groups = allowed.split(self._sizes, -1) if len(self._sizes) > 1 else (allowed,)
        allowed = torch.cat([each | ~each.any(-1, keepdim=True) for each in groups], -1)
        if self._places is not None:
            whole = torch.ones(parameters.shape, dtype=torch.bool, device=parameters.device)
            whole[..., self._places.to(parameters.device)] = allowed
            allowed = whole
        return torch.where(allowed, parameters, FORBIDDEN)


class MaskedActionValues(Masked):
    """An ``ActionValuePolicy`` around another: what is forbidden has no value, next steps' as well."""

    def policy(self, observations: Values) -> Tensor:
        """See ``ActionValuePolicy``."""
        inner = cast(ActionValuePolicy, self.inner)
        return self._lowered(inner.policy(without(observations, self._mask)), observations)

    def target(self, observations: Values) -> Tensor:
        """See ``ActionValuePolicy``."""
        inner = cast(ActionValuePolicy, self.inner)
        return self._lowered(inner.target(without(observations, self._mask)), observations)


class MaskedRecurrentActionValues(Masked):
    """The same of a network that remembers."""

    def unroll(self, observations: Values, state: State, resets: Tensor) -> Tensor:  # type: ignore[override]
        """See ``RecurrentActionValues``."""
        inner = cast(RecurrentActionValues, self.inner)
        return self._lowered(inner.unroll(without(observations, self._mask), state, resets), observations)

    def unroll_target(self, observations: Values, state: State, resets: Tensor) -> Tensor:
        """See ``RecurrentActionValues``."""
        inner = cast(RecurrentActionValues, self.inner)
        return self._lowered(inner.unroll_target(without(observations, self._mask), state, resets), observations)

    def warm(self, observations: Values, state: State, resets: Tensor) -> tuple[State, State]:
        """See ``RecurrentActionValues``."""
        return cast(RecurrentActionValues, self.inner).warm(without(observations, self._mask), state, resets)


def _places(spaces: Spaces, num_parameters: int) -> Tensor | None:
    """Which of a distribution's parameters are of categories, in order; None: all are.

    See ``Compound``: logits and means in the order of the leaves, then deviations.
    """
    found: list[int] = []
    end = 0
    for part in leaves(spaces.actions):
        if part.categories:
            found += range(end, end + sum(part.categories))
        end += sum(part.categories) or part.size
    return None if len(found) == num_parameters else torch.tensor(found)
