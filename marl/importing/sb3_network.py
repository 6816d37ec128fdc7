"""The network of a stable-baselines3 policy, from the names and shapes of its tensors.

What they do not tell has the library's defaults: the activation of hidden layers (hyperbolic tangent of PPO and A2C,
rectifier of the others), the strides of its NatureCNN, pixels divided by 255, the limit of SAC's means with use_sde.
Only acting is built, no critics.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from marl.data.spaces import Part, Spaces, mask_sizes
from marl.environments.actions import stretch_of
from marl.errors import WeightsFileError
from marl.importing.sb3_layers import Beside, Deviations, Entries, Measured, Pairs, Parts, Pictures, Rows
from marl.networks.contract import Stateless
from marl.networks.distributions import ActionRule, distribution_for
from marl.networks.q_network import ActionValues
from marl.networks.sac_network import SquashedGaussian

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
}
MOST, DEPENDING = 2.0, 2  # use_sde: of SAC's means, either way; dimensions of deviations that depend on what is seen
NO_NOISE = -20.0  # logarithm of the deviation of a policy that draws nothing


class Kind(NamedTuple):
    """Of a policy: where its parts are among the tensors, as prefixes of their names."""

    name: str
    activation: str
    features: str  # of the convolutions
    hidden: tuple[str, ...]  # linear layers, each followed by an activation
    outputs: tuple[str, ...]  # linear layers side by side; (): the last hidden one makes them, without an activation
    critic: tuple[str, ...]  # what is left out


ACTOR_CRITIC = Kind(
    "PPO or A2C", "tanh", "features_extractor.", ("mlp_extractor.shared_net.", "mlp_extractor.policy_net."),
    ("action_net.",), ("value_net.", "mlp_extractor.value_net.", "vf_features_extractor."),
)  # fmt: skip
DQN = Kind("DQN", "relu", "q_net.features_extractor.", ("q_net.q_net.",), (), ("q_net_target.",))
SDE = Kind("SAC with use_sde", "relu", "actor.features_extractor.", ("actor.latent_pi.",), ("actor.mu.0.",),
           ("critic.", "critic_target."))  # fmt: skip
SAC = Kind("SAC", "relu", "actor.features_extractor.", ("actor.latent_pi.",), ("actor.mu.", "actor.log_std."),
           ("critic.", "critic_target."))  # fmt: skip
TD3 = Kind("TD3 or DDPG", "relu", "actor.features_extractor.", ("actor.mu.",), (),
           ("critic.", "critic_target.", "actor_target."))  # fmt: skip
MARKS = {"action_net.weight": ACTOR_CRITIC, "q_net.q_net.0.weight": DQN, "actor.log_std.weight": SAC,
         "actor.log_std": SDE, "actor.mu.0.weight": TD3}  # fmt: skip


class Imported(Stateless):
    """What acts: parameters of a distribution from observations [B, D], as marl holds them."""

    def __init__(self, layers: Sequence[nn.Module], distribution: ActionRule) -> None:
        super().__init__()
        self.distribution = distribution
        self._layers = nn.Sequential(*layers)

    def policy(self, observations: Tensor) -> Tensor:
        """Parameters [B, P]."""
        parameters: Tensor = self._layers(observations)
        return parameters


def kind_of(tensors: dict[str, Tensor], path: object) -> Kind:
    """Which algorithm has such tensors.

    Raises:
        WeightsFileError: none that is known.
    """
    for mark, kind in MARKS.items():
        if mark in tensors:
            return kind
    raise WeightsFileError(
        f"{path}: expected an MlpPolicy, CnnPolicy or MultiInputPolicy of PPO, A2C, DQN, SAC, TD3 or DDPG, got the "
        f"tensors {', '.join(sorted(tensors)[:3]):.200}, ..."
    )


def build(
    tensors: dict[str, Tensor], spaces: Spaces, entries: tuple[str, ...], activation: str | None, path: object
) -> Imported:
    """The network that these tensors are of.

    Args:
        spaces: of the environment that it is to play.
        entries: of an observation that is a Dict, in the environment's own order.
        activation: of hidden layers, one of ``ACTIVATIONS``; None: the algorithm's default.

    Raises:
        WeightsFileError: it does not fit the environment, or is no network of stable-baselines3's own.
    """
    kind = kind_of(tensors, path)
    seen_parts = [spaces.observations[name] for name in entries] if entries else [spaces.observations]
    if not all(isinstance(part, Part) for part in (*seen_parts, spaces.actions)):
        raise WeightsFileError(
            f"{path}: expected an environment with one array as observation, or a Dict of arrays, and one as action, "
            f"got {spaces.words}"
        )
    parts = Parts(tensors, kind.critic, path)
    names = [f"{kind.features}extractors.{name}." for name in entries] if entries else [kind.features]
    convolutions = [parts.convolutions(name) for name in names]
    hidden = [
        each for prefix in kind.hidden for each in parts.hidden(prefix, ACTIVATIONS[activation or kind.activation])
    ]
    outputs = [parts.linear(prefix) for prefix in kind.outputs]
    log_std = parts.deviations("actor.log_std" if kind is SDE else "log_std")
    parts.demand_all_used()
    if not outputs:
        hidden, outputs = hidden[:-2], [cast(nn.Linear, hidden[-2])]  # without the activation behind it
    first, *_ = [each for each in (*hidden, *outputs) if isinstance(each, nn.Linear)]
    if entries:
        seen: nn.Module = Entries(dict(zip(entries, seen_parts, strict=True)), convolutions, first.in_features, path)
    else:
        (layers,), (part,) = convolutions, seen_parts
        seen = nn.Sequential(Pictures(part, path), *layers) if layers else Rows(part, first.in_features, path)
    distribution, last = _actions(kind, spaces, log_std, outputs[0].out_features, path)
    made: list[nn.Module] = [*outputs]
    if kind is SDE:
        made[0] = nn.Sequential(outputs[0], nn.Hardtanh(-MOST, MOST))
    if log_std is not None and log_std.ndim == DEPENDING:
        made.append(Deviations(log_std, outputs[0], path))
    network = Imported([seen, *hidden, Beside(made), *last], distribution)
    _try(network, spaces, entries, path)
    return network


def _actions(
    kind: Kind, spaces: Spaces, log_std: Tensor | None, outputs: int, path: object
) -> tuple[ActionRule, list[nn.Module]]:
    """What draws the actions, and what has to be done to the network's outputs before."""
    size = len(spaces.action_low)
    bounded = spaces.continuous and bool(np.isfinite([*spaces.action_low, *spaces.action_high]).all())
    if kind is ACTOR_CRITIC and not spaces.continuous:
        sizes = mask_sizes(spaces.actions)
        binary = set(sizes) == {2} and outputs == len(sizes)
        return distribution_for(spaces), [Pairs()] if binary else []
    if (
        kind is ACTOR_CRITIC
        and bounded
        and log_std is not None
        and (log_std.shape == (size,) or log_std.ndim == DEPENDING)
    ):
        stretch = stretch_of(spaces.actions)
        scale, centre = torch.from_numpy(stretch.scale), torch.from_numpy(stretch.centre)
        return distribution_for(spaces), [Measured(scale, centre, log_std if log_std.ndim == 1 else None)]
    if kind is DQN and spaces.discrete:
        return ActionValues(spaces.num_actions), []
    if kind in (SAC, SDE) and bounded:
        return SquashedGaussian(size), []
    if kind is TD3 and bounded:
        return distribution_for(spaces), [
            nn.Tanh(),
            Measured(torch.ones(size), torch.zeros(size), NO_NOISE + torch.zeros(size)),
        ]
    raise WeightsFileError(
        f"{path}: expected an environment with the actions of this {kind.name} policy, got {spaces.action_words}"
    )


def _try(network: Imported, spaces: Spaces, entries: tuple[str, ...], path: object) -> None:
    """Refuse layers that do not fit each other, or the environment."""
    expected = network.distribution.num_parameters
    try:
        with torch.no_grad():
            made = network.policy(spaces.zeros(2)).shape[-1]
    except RuntimeError as error:
        shapes = ", ".join(f"{name} {list(spaces.observations[name].shape)}" for name in entries)
        seen = f"with the entries {shapes:.200}" if entries else f"of the shape {list(spaces.observation_shape)}"
        raise WeightsFileError(
            f"{path}: its layers do not fit observations {seen}: name the environment that it was trained in, "
            f"wrappers included ({str(error).splitlines()[0]:.100})"
        ) from error
    if made != expected:
        raise WeightsFileError(
            f"{path}: expected {expected} outputs for {spaces.action_words}, the policy has {made}: name the "
            "environment that it was trained in"
        )
