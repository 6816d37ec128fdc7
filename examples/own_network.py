"""A network of one's own: convolutions over the picture.

    marl train examples.own_environment:Catch-v0 --set network.name=examples.own_network:Convolutions

``network.name`` works with a3c, ppo and impala, which ask for a distribution, ``policy`` and ``values``; ``unroll`` is
written again only because both have a layer in common. With apex_dqn, what ``policy`` makes counts as the
values of actions. The seed is set before the class is made, so that layers of torch start the same each time.
"""

import torch
from torch import Tensor, nn

from marl.data.spaces import Spaces
from marl.networks.contract import Outputs, State, StatelessCritic
from marl.networks.distributions import distribution_for
from marl.networks.settings import NetworkSettings


class Convolutions(StatelessCritic):
    """One convolution under a policy and a value."""

    def __init__(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> None:
        super().__init__()
        rows, columns = self._picture = spaces.observation_shape  # of one observation
        channels, width = 8, settings.hidden[0]  # settings: hidden, activation, shared_trunk, log_std, as you like
        self.distribution = distribution_for(spaces)  # categories or normals, whichever the actions need
        self.body = nn.Sequential(
            nn.Conv2d(1, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(channels * rows * columns, width),
            nn.ReLU(),
        )
        self.actor = nn.Linear(width, self.distribution.num_parameters)
        self.critic = nn.Linear(width, 1)

    def policy(self, observations: Tensor) -> Tensor:
        """Distribution parameters [..., P] of observations [..., D], which come flat: D = rows * columns."""
        parameters: Tensor = self.actor(self._features(observations))
        return parameters

    def values(self, observations: Tensor) -> Tensor:
        """Values [...] of observations [..., D]."""
        values: Tensor = self.critic(self._features(observations)).squeeze(-1)
        return values

    def unroll(self, observations: Tensor, state: State, resets: Tensor | None, acted: int) -> Outputs:
        """Parameters [T, B, P] of the first ``acted`` and values [T + 1, B] of all observations [T + 1, B, D]."""
        features = self._features(observations)
        return Outputs(self.actor(features[:acted]), self.critic(features).squeeze(-1))

    def _features(self, observations: Tensor) -> Tensor:
        leading = observations.shape[:-1]  # [B] while acting, [T + 1, B] while learning
        pictures = observations.reshape(-1, 1, *self._picture)
        return torch.unflatten(self.body(pictures), 0, leading)


if __name__ == "__main__":
    from marl.api import train

    settings = {"network.name": "examples.own_network:Convolutions"}
    print(train("examples.own_environment:Catch-v0", settings=settings).reason)
