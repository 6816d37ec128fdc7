"""A policy and a value of observations."""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from marl.data.layout import Values, at, named
from marl.data.spaces import Part, Spaces
from marl.networks.contract import Decision, Outputs, State, StatelessCritic
from marl.networks.distributions import distribution_for
from marl.networks.encoders.inputs import Inputs, as_floats
from marl.networks.encoders.make_encoder import MLP
from marl.networks.heads import Linear, forward_of, make_head
from marl.networks.kept_tensors import KeepsTensors
from marl.networks.settings import NetworkSettings
from marl.networks.torso import Torso


class ValueOfFeatures(KeepsTensors):
    """Values [...] of what a policy's core makes [..., F], by a hidden layer of its own.

    No gradient goes further back. A value's is often the far larger one: in a body that both share, little of the
    policy's is left, and a core of its own would cost as much again as the policy's.
    """

    def __init__(self, size: int, settings: NetworkSettings, generator: torch.Generator) -> None:
        super().__init__()
        layers = settings.hidden[-1:], settings.activation
        self.hidden = MLP(Inputs(Part((size,))), *layers, generator, layer_norm=settings.layer_norm)
        self.head = make_head(self.hidden.size, 1, settings, 1.0, generator)
        self.relist()

    def forward(self, features: Tensor) -> Tensor:
        """See the class; [..., 1]."""
        encode, head = self._listed
        return head(encode(features.detach()))

    def relist(self) -> None:
        """See ``KeepsTensors``."""
        self._listed = self.hidden.forward, forward_of(self.head)


class _Torsos(nn.Module):
    """A policy and a value, or one trunk whose last output is the value."""

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
        self.critic: nn.Module | None = None
        if not settings.shared_trunk:
            beside = settings.remembers
            self.critic = ValueOfFeatures(self.actor.size, settings, generator) if beside else torso(1, 1.0)
        self.log_std = nn.Parameter(torch.full((deviations,), settings.log_std)) if deviations else None
        # A step's own time is a few microseconds, and torch takes one to look up a module or a parameter.
        self._listed = self.critic is None, self.actor.forward, (self.critic or self.actor).forward
        self._deviates = deviations > 0

    def _with_deviation(self, outputs: Tensor) -> Tensor:
        if not self._deviates:
            return outputs
        return torch.cat([outputs, cast(Tensor, self.log_std).expand(*outputs.shape[:-1], -1)], -1)


class Passed(NamedTuple):
    """What a network said of observations, and the way back, without autograd."""

    outputs: Outputs
    anchor: Tensor  # a parameter
    # Adds to the parameters' gradients those of a sum with these slopes by parameters [N, P] and values [N], and, if
    # named, with this factor.
    backward: Callable[..., None]


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

    def by_hand(self, observations: Values) -> Passed | None:
        """Outputs of observations [N, D] without autograd, and the way back.

        None where only autograd can: of any network but two multilayer perceptrons on a CPU that have gradients.
        """
        shared, _, _ = self._listed
        if shared or not isinstance(observations, Tensor):
            return None
        if observations.ndim != 2 or observations.device.type != "cpu":
            return None
        actor, critic = self.actor.perceptron(), cast(Torso, self.critic).perceptron()
        if actor is None or critic is None or not (actor.learns() and critic.learns()):
            return None
        log_std = self.log_std
        if log_std is not None and not (log_std.requires_grad and log_std.grad is not None):
            return None
        inputs = as_floats(observations)
        acted, valued = actor.forward(inputs), critic.forward(inputs)

        def backward(slopes: Tensor, value_slopes: Tensor, scale: Tensor | None = None) -> None:
            if scale is not None:
                slopes, value_slopes = slopes * scale, value_slopes * scale
            if log_std is not None:
                count = slopes.shape[-1] - len(log_std)
                cast(Tensor, log_std.grad).add_(slopes[:, count:].sum(0))
                slopes = slopes[:, :count]
            actor.backward(acted, slopes)
            critic.backward(valued, value_slopes.unsqueeze(-1))

        with torch.no_grad():
            parameters = self._with_deviation(acted[-1])
        return Passed(Outputs(parameters, valued[-1].squeeze(-1)), actor.layers[0][0], backward)

    def unroll(self, observations: Values, unused_state: State, unused_resets: Tensor | None, acted: int) -> Outputs:
        """See ``Policy``; a shared trunk is passed once."""
        shared, act, _ = self._listed
        if shared:
            outputs = act(observations)
            return Outputs(self._with_deviation(outputs[:acted, ..., :-1]), outputs[..., -1])
        return Outputs(self.policy(at(observations, slice(acted))), self.values(observations))


class RecurrentActorCritic(_Torsos):
    """What a core remembers counts as well. The policy has it; the value sees what it makes."""

    def initial_state(self, rows: int) -> State:
        """See ``Acts``."""
        return self.actor.initial_state(rows)

    def step(self, observations: Values, state: State) -> Decision:
        """See ``Acts``."""
        features, state = self.actor.step_features(observations, state)
        outputs = self.actor.outputs(features)
        if self.critic is None:
            return Decision(self._with_deviation(outputs[..., :-1]), outputs[..., -1], state)
        return Decision(self._with_deviation(outputs), None, state)

    def unroll(self, observations: Values, state: State, resets: Tensor | None, acted: int) -> Outputs:
        """See ``Policy``."""
        if resets is None:
            seen = named(observations, observations)[0][1]
            resets = torch.zeros(seen.shape[:2], dtype=torch.bool, device=seen.device)
        features = self.actor.unroll_features(observations, state, resets)
        if self.critic is None:
            outputs = self.actor.outputs(features)
            return Outputs(self._with_deviation(outputs[:acted, ..., :-1]), outputs[..., -1])
        _, _, value = self._listed
        return Outputs(self._with_deviation(self.actor.outputs(features[:acted])), value(features).squeeze(-1))
