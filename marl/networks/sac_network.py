"""A policy that keeps its actions inside a box, and two critics of its actions."""

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from marl.data.layout import Values
from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.networks.contract import Stateless
from marl.networks.encoders.inputs import Inputs
from marl.networks.encoders.make_encoder import Encoder, activation_of, make_features
from marl.networks.heads import Linear, linear
from marl.networks.measured.gaussian import StateGaussian
from marl.networks.measured.squashed import log_slope
from marl.networks.settings import NetworkSettings
from marl.networks.torso import Torso, as_buffers


class SACNetwork(Stateless):
    """The critics come first and their copies are all the buffers there are, so that the flat vector begins with what
    the targets follow and ends with the targets.
    """

    def __init__(self, spaces: Spaces, settings: NetworkSettings, seed: int, *, temperature: float = 1.0) -> None:
        super().__init__()
        _demand_box(spaces)
        size = len(spaces.action_low)
        self.distribution = SquashedGaussian(size)
        generator = torch.Generator().manual_seed(seed)
        self.critics = Critics(spaces, settings, generator)
        self.past = as_buffers(self.critics)
        self.actor = Torso(spaces, settings, 2 * size, head_gain=0.01, generator=generator)
        self.temperature = Temperature(temperature)
        with torch.no_grad():
            cast(Linear, self.actor.head).bias[size:] = settings.log_std

    def policy(self, observations: Values) -> Tensor:
        """Parameters [..., 2 A] of the distribution of actions, of observations [..., D]."""
        return self.actor.forward(observations)

    def values(self, observations: Values, actions: Tensor) -> Tensor:
        """What both critics say [2, N] of actions [N, A]."""
        return self.critics.forward(observations, actions)

    def fixed_values(self, observations: Values, actions: Tensor) -> Tensor:
        """The same, with a gradient to the actions and none to the critics."""
        return self.critics.forward(observations, actions, fixed=True)

    def target(self, observations: Values, actions: Tensor) -> Tensor:
        """The same by the copies."""
        return self.past.forward(observations, actions)


class Temperature(nn.Module):
    """One number in a module of its own: a network's own parameters would come before those of its parts."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(start)))


def _demand_box(spaces: Spaces) -> None:
    if not spaces.continuous:
        other = "apex_dqn" if spaces.discrete else "ppo"
        raise ConfigError(
            f"sac needs continuous actions in one Box, and this environment has {spaces.action_words}: try {other}"
        )
    if not spaces.bounded:
        raise ConfigError(
            "sac needs actions with bounds on both sides, and some of this environment's lack one: try ppo"
        )


class Critics(nn.Module):
    """Two MLPs of one output side by side, so that each layer of both is one product.

    They see an observation's features, where the policy has some besides hidden layers, and the action. The features
    are the critics' own, and both critics learn them.
    """

    def __init__(self, spaces: Spaces, settings: NetworkSettings, generator: torch.Generator) -> None:
        super().__init__()
        self._activation = activation_of(settings.activation)
        self._see = Inputs(spaces.observations)
        self.features = make_features(spaces, settings, generator)
        seen = self._see.size if self.features is None else cast(Encoder, self.features).size
        sizes = [seen + len(spaces.action_low), *settings.hidden, 1]
        self.depth = len(sizes) - 1
        for number, (below, above) in enumerate(pairwise(sizes)):
            gain = 1.0 if above == 1 else math.sqrt(2)
            pair = [linear(below, above, gain, generator).weight.detach().T for _ in range(2)]
            self.register_parameter(f"weight{number}", nn.Parameter(torch.stack(pair)))  # [2, below, above]
            self.register_parameter(f"bias{number}", nn.Parameter(torch.zeros(2, 1, above)))

    def forward(self, observations: Values, actions: Tensor, fixed: bool = False) -> Tensor:
        """Values [2, N] of observations [N, D] and actions [N, A]; ``fixed``: without a gradient to the weights."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not fixed):
            seen = (self._see if self.features is None else self.features)(observations)
        inputs = torch.cat([seen, actions], -1)
        hidden = inputs.expand(2, *inputs.shape)
        for number in range(self.depth):
            weight, bias = getattr(self, f"weight{number}"), getattr(self, f"bias{number}")
            if fixed:
                weight, bias = weight.detach(), bias.detach()
            hidden = torch.baddbmm(bias, hidden, weight)
            if number < self.depth - 1:
                hidden = self._activation(hidden)
        return hidden.squeeze(-1)


class SquashedGaussian:
    """The hyperbolic tangent of independent normals: actions [..., size] in [-1, 1].

    Parameters are those of the normals. ``Squashed`` has the same density, but its actions near a bound are numbers
    beyond 1, so that the density of an action is known from the action alone. Critics need actions inside the box.
    """

    def __init__(self, size: int) -> None:
        self._normal = StateGaussian(size)
        self.size = size
        self.num_parameters = self._normal.num_parameters
        self.noise = self._normal.noise

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Actions."""
        return self._normal.sample(parameters, noise).tanh_()

    def sample_with_log_prob(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions, and their log-densities [...] with a gradient through both."""
        mean, log_std = self._normal.split(parameters)
        before = torch.addcmul(mean, log_std.exp(), noise)
        log_probs = -0.5 * noise.square() - log_std - log_slope(before)
        return before.tanh(), log_probs.sum(-1) - 0.5 * math.log(2 * math.pi) * self.size

    def mode(self, parameters: Tensor) -> Tensor:
        """The means, squashed."""
        return self._normal.mode(parameters).tanh()
