"""A policy and a value of observations."""

import torch
from torch import Tensor, nn

from marl.data.spaces import Spaces
from marl.networks.contract import Decision, Outputs, State, StatelessCritic
from marl.networks.distributions import distribution_for
from marl.networks.settings import NetworkSettings
from marl.networks.torso import Torso


class ActorCritic(StatelessCritic):
    """Two networks, or one with a shared trunk whose last output is the value."""

    def __init__(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> None:
        super().__init__()
        self.distribution = distribution_for(spaces)
        self._num_outputs = spaces.num_actions if spaces.discrete else len(spaces.action_low)
        generator = torch.Generator().manual_seed(seed)

        def torso(outputs: int, head_gain: float) -> Torso:
            return Torso(spaces, settings, outputs, head_gain=head_gain, generator=generator)

        self.actor = torso(self._num_outputs + settings.shared_trunk, 0.01)
        self.critic = None if settings.shared_trunk else torso(1, 1.0)
        self.log_std = None if spaces.discrete else nn.Parameter(torch.full((self._num_outputs,), settings.log_std))

    def policy(self, observations: Tensor) -> Tensor:
        """Distribution parameters [..., P] of observations [..., D]."""
        outputs: Tensor = self.actor.forward(observations)
        return self._with_deviation(outputs if self.critic is not None else outputs[..., :-1])

    def values(self, observations: Tensor) -> Tensor:
        """Values [...] of observations [..., D]."""
        if self.critic is None:
            return self.actor.forward(observations)[..., -1]
        return self.critic.forward(observations).squeeze(-1)

    def unroll(self, observations: Tensor, unused_state: State, unused_resets: Tensor | None, acted: int) -> Outputs:
        """See ``Policy``; a shared trunk is passed once."""
        if self.critic is None:
            outputs = self.actor.forward(observations)
            return Outputs(self._with_deviation(outputs[:acted, ..., :-1]), outputs[..., -1])
        return Outputs(self.policy(observations[:acted]), self.values(observations))

    def _with_deviation(self, outputs: Tensor) -> Tensor:
        return outputs if self.log_std is None else torch.cat([outputs, self.log_std.expand_as(outputs)], -1)


class RecurrentActorCritic(ActorCritic):
    """The same with a core that remembers in each network, or in the shared trunk."""

    def initial_state(self, rows: int) -> State:
        """See ``Acts``; one core's after the other's."""
        return tuple(each.initial_state(rows) for each in self._torsos())

    def step(self, observations: Tensor, state: State) -> Decision:
        """See ``Acts``; the critic is asked as well, since it has to remember."""
        found = [each.step(observations, kept) for each, kept in zip(self._torsos(), state, strict=True)]
        parameters, values = self._meant([outputs for outputs, _ in found])
        return Decision(parameters, values, tuple(kept for _, kept in found))

    def unroll(self, observations: Tensor, state: State, resets: Tensor | None, acted: int) -> Outputs:
        """See ``Policy``."""
        if resets is None:
            resets = torch.zeros(observations.shape[:2], dtype=torch.bool, device=observations.device)
        pairs = zip(self._torsos(), state, strict=True)
        parameters, values = self._meant([each.unroll(observations, kept, resets) for each, kept in pairs])
        return Outputs(parameters[:acted], values)

    def _torsos(self) -> list[Torso]:
        return [self.actor] if self.critic is None else [self.actor, self.critic]

    def _meant(self, outputs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Parameters [..., P] and values [...]."""
        if self.critic is None:
            (both,) = outputs
            return self._with_deviation(both[..., :-1]), both[..., -1]
        return self._with_deviation(outputs[0]), outputs[1].squeeze(-1)
