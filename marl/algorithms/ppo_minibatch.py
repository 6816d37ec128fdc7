"""What PPO learns from at once: single transitions, or whole trajectories where a network remembers."""

from typing import NamedTuple, cast

import torch
from torch import Tensor

from marl.data.layout import Values, mapped
from marl.networks.contract import Outputs, Policy, State
from marl.targets.returns import mean_weights


class Minibatch(NamedTuple):
    """N transitions with everything that the loss compares them with.

    Of a network that remembers: whole trajectories of some of the environments, [T, B] in place of [N].
    """

    observations: Values  # [N, D]
    actions: Tensor  # [N] or [N, A]
    log_probs: Tensor  # [N]  of the policy that acted
    values: Tensor  # [N]  before the first epoch
    advantages: Tensor  # [N]
    targets: Tensor  # [N]  of the value
    clip: float
    state: State = ()  # [B, ...]  before the first step
    resets: Tensor | None = None  # [T, B]  see ``Policy.unroll``
    valid: Tensor | None = None  # [T, B]  which of them are transitions; None: all

    def size(self) -> int:
        """How many transitions, or environments, ``pick`` has to choose from."""
        return self.actions.shape[0 if self.resets is None else 1]

    def pick(self, index: Tensor) -> "Minibatch":
        """The transitions at ``index``, which may be a mask; or those of these environments."""
        if self.resets is None:
            rows = index if index.dtype is torch.long else index.nonzero().squeeze(1)
            # Not each[index], which moves a picture byte by byte.
            seen = mapped(lambda each: each.index_select(0, rows), self.observations)
            return Minibatch._make([seen, *(each[index] for each in self[1:6]), *self[6:]])
        seen, state = (
            mapped(lambda each: each[:, index], self.observations),
            mapped(lambda each: each[index], self.state),
        )
        *picked, resets, valid = (each[:, index] for each in (*self[1:6], self.resets, cast(Tensor, self.valid)))
        return Minibatch._make([seen, *picked, self.clip, state, resets, valid])

    def flat(self) -> "Minibatch":
        """With all transitions in one row, for those who compare."""
        if self.resets is None:
            return self
        return Minibatch._make([self.observations, *map(in_one_row, self[1:6]), *self[6:]])

    def outputs(self, network: Policy) -> Outputs:
        """What a network says of them now: parameters [N, P] and values [N]."""
        found = network.unroll(self.observations, self.state, self.resets, len(self.actions))
        return found if self.resets is None else Outputs(found.parameters.flatten(0, 1), found.values.flatten())

    def weights(self) -> Tensor:
        """What each counts for [N] in a mean."""
        if self.valid is not None:
            return mean_weights(self.valid).flatten()
        count = len(self.actions)
        return self.advantages.new_full((count,), 1.0 / max(count, 1))


def in_one_row(tensor: Tensor) -> Tensor:
    """[T, B, ...] as [N, ...]."""
    return tensor.flatten(0, 1)
