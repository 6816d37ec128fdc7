"""A policy and a value of observations."""

import torch
from torch import Tensor, nn

from marl.data.spaces import Spaces
from marl.networks.contract import Outputs, State, StatelessCritic
from marl.networks.distributions import distribution_for
from marl.networks.settings import NetworkSettings
from marl.networks.torso import MLP


class ActorCritic(StatelessCritic):
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

    def unroll(self, observations: Tensor, unused_state: State, unused_resets: Tensor | None, acted: int) -> Outputs:
        """See ``Policy``; a shared trunk is passed once."""
        if self.critic is None:
            outputs = self.actor.forward(observations)
            return Outputs(self._with_deviation(outputs[:acted, ..., :-1]), outputs[..., -1])
        return Outputs(self.policy(observations[:acted]), self.values(observations))

    def _with_deviation(self, outputs: Tensor) -> Tensor:
        return outputs if self.log_std is None else torch.cat([outputs, self.log_std.expand_as(outputs)], -1)
