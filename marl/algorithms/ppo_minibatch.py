"""What PPO learns from at once: single transitions, or sequences of them where a network remembers."""

from typing import NamedTuple, cast

import torch
from torch import Tensor

from marl.data.layout import Values, at, joined, mapped, on_device
from marl.networks.contract import Outputs, Policy, State, renewed
from marl.targets.returns import mean_weights, moments_of, standardized_by


class Minibatch(NamedTuple):
    """N transitions with everything that the loss compares them with.

    Of a network that remembers: sequences, [T, B] in place of [N].
    """

    observations: Values  # [N, D]
    actions: Tensor  # [N] or [N, A]
    log_probs: Tensor  # [N]  of the policy that acted
    values: Tensor  # [N]  before the first epoch
    advantages: Tensor  # [N]
    targets: Tensor  # [N]  of the value
    clip: float
    entropy_cost: float
    standard: bool  # whether the advantages have mean 0 and deviation 1, among all that learn together
    state: State = ()  # [B, ...]  before the first step
    resets: Tensor | None = None  # [T, B]  see ``Policy.unroll``
    valid: Tensor | None = None  # [T, B]  which of them are transitions; None: all

    def size(self) -> int:
        """How many transitions, or sequences, ``pick`` has to choose from."""
        return self.actions.shape[0 if self.resets is None else 1]

    def pick(self, index: Tensor) -> "Minibatch":
        """The transitions at ``index``, which may be a mask; or these sequences."""
        if self.resets is None:
            rows = index if index.dtype is torch.long else index.nonzero().squeeze(1)
            # Not each[index], which moves a picture byte by byte, and takes longer to begin.
            seen = mapped(lambda each: each.index_select(0, rows.to(each.device)), self.observations)
            there = rows.to(self.actions.device)
            return Minibatch._make([seen, *(each.index_select(0, there) for each in self[1:6]), *self[6:]])
        seen, state = (
            mapped(lambda each: each[:, index], self.observations),
            mapped(lambda each: each[index], self.state),
        )
        *picked, resets, valid = (each[:, index] for each in (*self[1:6], self.resets, cast(Tensor, self.valid)))
        return Minibatch._make([seen, *picked, *self[6:9], state, resets, valid])

    def flat(self) -> "Minibatch":
        """With all transitions in one row, for those who compare."""
        if self.resets is None:
            return self
        return Minibatch._make([self.observations, *map(in_one_row, self[1:6]), *self[6:]])

    def moments(self, index: Tensor) -> Tensor:
        """Of the advantages at ``index`` [4], see ``marl.targets.returns.moments_of``."""
        advantages = self.advantages[..., index]
        weights = torch.ones_like(advantages) if self.valid is None else self.valid[:, index]
        return moments_of(advantages, weights)

    def standardized(self, moments: Tensor) -> "Minibatch":
        """With advantages of mean 0 and deviation 1 among those that have these ``moments`` [4]."""
        return self._replace(advantages=standardized_by(self.advantages, moments), standard=True)

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


@torch.no_grad()
def in_sequences(network: Policy, whole: Minibatch, longest: int) -> Minibatch:
    """Trajectories [T, B] as sequences [L, C B] of at most ``longest`` steps: the loop over time is shorter and its
    products are larger, which costs far less. A sequence begins with what the network remembers there, and no gradient
    goes further back.

    All have as many steps. Where the last ones lack some, they repeat their last step, which then counts for nothing.
    """
    steps = len(whole.actions)
    parts = -(-steps // longest)
    if parts == 1:
        return whole
    length = -(-steps // parts)
    state = _states_at(network, whole, range(0, steps, length))
    order = torch.arange(parts * length, device=whole.actions.device).clamp_(max=steps - 1)

    def cut(each: Tensor) -> Tensor:
        return each[order].view(parts, length, *each.shape[1:]).transpose(0, 1).flatten(1, 2)

    seen = mapped(cut, whole.observations)
    *compared, resets, valid = map(cut, (*whole[1:6], cast(Tensor, whole.resets), cast(Tensor, whole.valid)))
    valid[length - (parts * length - steps) :, -whole.size() :] = False
    return Minibatch._make([seen, *compared, *whole[6:9], state, resets, valid])


def _states_at(network: Policy, whole: Minibatch, starts: range) -> State:
    """What the network remembers [C B, ...] before each of these steps, of each environment."""
    seen, resets, device = whole.observations, cast(Tensor, whole.resets), whole.actions.device
    state, initial = (on_device(each, device) for each in (whole.state, network.initial_state(whole.size())))
    found, begins = [], resets.any(1).tolist()
    for step in range(starts[-1] + 1):
        if begins[step]:
            state = renewed(state, resets[step], initial)
        if step in starts:
            found.append(state)
        if step < starts[-1]:
            state = network.step(at(seen, step), state).state
    return joined(found)
