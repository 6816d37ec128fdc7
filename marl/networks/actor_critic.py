"""A policy and a value of observations."""

from typing import cast

import torch
from torch import Tensor, nn

from marl.data.layout import Values, at, named
from marl.data.spaces import Spaces
from marl.networks.contract import Decision, Outputs, State, StatelessCritic
from marl.networks.distributions import distribution_for
from marl.networks.heads import Linear
from marl.networks.settings import NetworkSettings
from marl.networks.torso import Torso


class _Torsos(nn.Module):
    """Two networks, or one with a shared trunk whose last output is the value."""

    def __init__(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> None:
        super().__init__()
        self.distribution = distribution_for(spaces, settings.policy)
        deviations = self.distribution.num_deviations
        num_outputs = self.distribution.num_parameters - deviations
        generator = torch.Generator().manual_seed(seed)

        def torso(outputs: int, head_gain: float) -> Torso:
            return Torso(spaces, settings, outputs, head_gain=head_gain, generator=generator)

        self.actor = torso(num_outputs + settings.shared_trunk, 0.01)
        if isinstance(self.actor.head, Linear) and self.distribution.deviating:
            with torch.no_grad():
                self.actor.head.bias[list(self.distribution.deviating)] = settings.log_std
        self.critic = None if settings.shared_trunk else torso(1, 1.0)
        self.log_std = nn.Parameter(torch.full((deviations,), settings.log_std)) if deviations else None
        # A step's own time is a few microseconds, and torch takes one to look up a module or a parameter.
        self._listed = self.critic is None, self.actor.forward, (self.critic or self.actor).forward
        self._deviates = deviations > 0

    def _with_deviation(self, outputs: Tensor) -> Tensor:
        if not self._deviates:
            return outputs
        return torch.cat([outputs, cast(Tensor, self.log_std).expand(*outputs.shape[:-1], -1)], -1)


class ActorCritic(_Torsos, StatelessCritic):
    """What the present observation says is all there is."""

    def policy(self, observations: Values) -> Tensor:
        """Distribution parameters [..., P] of observations [..., D]."""
        shared, act, _ = self._listed
        outputs = act(observations)
        return self._with_deviation(outputs[..., :-1] if shared else outputs)

    def values(self, observations: Values) -> Tensor:
        """Values [...] of observations [..., D]."""
        shared, _, value = self._listed
        return value(observations)[..., -1] if shared else value(observations).squeeze(-1)

    def unroll(self, observations: Values, unused_state: State, unused_resets: Tensor | None, acted: int) -> Outputs:
        """See ``Policy``; a shared trunk is passed once."""
        shared, act, _ = self._listed
        if shared:
            outputs = act(observations)
            return Outputs(self._with_deviation(outputs[:acted, ..., :-1]), outputs[..., -1])
        return Outputs(self.policy(at(observations, slice(acted))), self.values(observations))


class RecurrentActorCritic(_Torsos):
    """What a core remembers counts as well: one in each network, or in the shared trunk."""

    def initial_state(self, rows: int) -> State:
        """See ``Acts``; one core's after the other's."""
        return tuple(each.initial_state(rows) for each in self._torsos())

    def step(self, observations: Values, state: State) -> Decision:
        """See ``Acts``; the critic is asked as well, since it has to remember."""
        found = [each.step(observations, kept) for each, kept in zip(self._torsos(), state, strict=True)]
        parameters, values = self._meant([outputs for outputs, _ in found])
        return Decision(parameters, values, tuple(kept for _, kept in found))

    def unroll(self, observations: Values, state: State, resets: Tensor | None, acted: int) -> Outputs:
        """See ``Policy``."""
        if resets is None:
            seen = named(observations, observations)[0][1]
            resets = torch.zeros(seen.shape[:2], dtype=torch.bool, device=seen.device)
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
