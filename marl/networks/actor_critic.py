"""A policy and a value of observations."""

import torch
from torch import Tensor, nn

from marl.data.spaces import Spaces
from marl.networks.distributions import distribution_for
from marl.networks.settings import NetworkSettings
from marl.networks.torso import MLP


class ActorCritic(nn.Module):
    """Two networks, or one with a shared trunk whose last output is the value."""

    def __init__(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> None:
        super().__init__()
        self.distribution = distribution_for(spaces)
        self._num_outputs = spaces.num_actions if spaces.discrete else len(spaces.action_low)
        generator = torch.Generator().manual_seed(seed)

        def mlp(outputs: int, head_gain: float) -> MLP:
            return MLP(
                spaces.observation_size,
                settings.hidden,
                outputs,
                activation=settings.activation,
                head_gain=head_gain,
                generator=generator,
            )

        self.actor = mlp(self._num_outputs + settings.shared_trunk, 0.01)
        self.critic = None if settings.shared_trunk else mlp(1, 1.0)
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

    def policy_and_values(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters [T, B, P] of the first T and values [T + 1, B] of all observations [T + 1, B, D]."""
        if self.critic is None:
            outputs = self.actor.forward(observations)
            return self._with_deviation(outputs[:-1, ..., :-1]), outputs[..., -1]
        return self.policy(observations[:-1]), self.values(observations)

    def both(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters [..., P] and values [...] of the same observations [..., D]; a shared trunk is passed once."""
        if self.critic is None:
            outputs = self.actor.forward(observations)
            return self._with_deviation(outputs[..., :-1]), outputs[..., -1]
        return self.policy(observations), self.values(observations)

    def _with_deviation(self, outputs: Tensor) -> Tensor:
        return outputs if self.log_std is None else torch.cat([outputs, self.log_std.expand_as(outputs)], -1)
