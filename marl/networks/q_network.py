"""Values of actions, twice: as they are learned, and as they were a while ago."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from marl.data.layout import Values
from marl.data.spaces import Spaces
from marl.errors import ConfigError
from marl.networks.contract import Decision, State, Stateless
from marl.networks.kept_tensors import KeepsTensors
from marl.networks.settings import NetworkSettings
from marl.networks.stepped import Stepped
from marl.networks.torso import Torso, as_buffers

MAX_COMBINED = 1024  # actions: the matrix grows with their square


class _Twice(KeepsTensors):
    """One network, and a copy of it as buffers, which gives the value of what the first one chooses.

    Dueling (Wang et al., "Dueling Network Architectures for Deep Reinforcement Learning", 2016, equation 9): it
    says a value V of the observation and an advantage A of each action, and Q = V + A - mean A.
    """

    def __init__(
        self,
        spaces: Spaces,
        settings: NetworkSettings,
        seed: int,
        *,
        dueling: bool = True,
        online: nn.Module | None = None,
    ) -> None:
        """``online``: a user's own, by ``policy`` or ``Stepped``; None: an encoder and a head."""
        super().__init__()
        if not spaces.discrete:
            other = "sac" if spaces.continuous and spaces.bounded and not settings.remembers else "ppo"
            raise ConfigError(
                f"apex_dqn needs actions that are one category, this environment has {spaces.action_words}: try {other}"
            )
        self.distribution = ActionValues(spaces.num_actions)
        self._dueling = dueling
        self.online: nn.Module = online or Torso(
            spaces,
            settings,
            spaces.num_actions + dueling,
            head_gain=0.01,
            generator=torch.Generator().manual_seed(seed),
        )
        self.past = as_buffers(self.online)
        self.relist()

    def relist(self) -> None:
        """See ``KeepsTensors``. The matrix is not a buffer: all buffers are the copy's (see ``replayed.parts``)."""
        self._combine: Tensor | None = None
        if self._dueling and self.distribution.num_parameters <= MAX_COMBINED:
            beside = next(self.online.parameters())
            self._combine = dueling_matrix(self.distribution.num_parameters).to(beside)

    def _values(self, outputs: Tensor) -> Tensor:
        if not self._dueling:
            return outputs
        if self._combine is None:
            values, advantages = outputs[..., :1], outputs[..., 1:]
            return values + advantages - advantages.mean(-1, keepdim=True)
        return outputs @ self._combine


class QNetwork(_Twice, Stateless):
    """What the present observation says is all there is."""

    def policy(self, observations: Values) -> Tensor:
        """See ``ActionValuePolicy``."""
        return self._values(self._listed[0](observations))

    def target(self, observations: Values) -> Tensor:
        """See ``ActionValuePolicy``."""
        return self._values(self._listed[1](observations))

    def relist(self) -> None:
        """See ``KeepsTensors``."""
        super().relist()
        self._listed = _values_of(self.online), _values_of(self.past)


class RecurrentQNetwork(_Twice):
    """What a core remembers counts as well; the copy's core goes on from the same state."""

    online: Torso | Stepped
    past: Torso | Stepped

    def initial_state(self, rows: int) -> State:
        """See ``Acts``."""
        return self.online.initial_state(rows)

    def step(self, observations: Values, state: State) -> Decision:
        """See ``Acts``."""
        outputs, state = self.online.step(observations, state)
        return Decision(self._values(outputs), None, state)

    def unroll(self, observations: Values, state: State, resets: Tensor) -> Tensor:
        """See ``RecurrentActionValues``."""
        return self._values(self.online.unroll(observations, state, resets))

    def unroll_target(self, observations: Values, state: State, resets: Tensor) -> Tensor:
        """See ``RecurrentActionValues``."""
        return self._values(self.past.unroll(observations, state, resets))

    def warm(self, observations: Values, state: State, resets: Tensor) -> tuple[State, State]:
        """See ``RecurrentActionValues``."""
        return self.online.warm(observations, state, resets), self.past.warm(observations, state, resets)


def _values_of(network: nn.Module) -> Callable[[Values], Tensor]:
    return network.forward if isinstance(network, Torso) else cast(Stateless, network).policy


def dueling_matrix(num_actions: int) -> Tensor:
    """M [1 + A, A] with [V, A_1, A_2, ...] M = V + A - mean A: one product in place of four small operations."""
    return torch.cat([torch.ones(1, num_actions), torch.eye(num_actions) - 1.0 / num_actions])


class ActionValues:
    """Acting on values [..., A]: an ``ActionRule``, and no distribution."""

    def __init__(self, num_actions: int) -> None:
        self.num_parameters = num_actions

    def noise(self, shape: tuple[int, ...], unused_generator: torch.Generator) -> Tensor:
        """None: there is nothing to draw."""
        return torch.zeros(*shape, self.num_parameters)

    def sample(self, parameters: Tensor, unused_noise: Tensor) -> Tensor:
        """The best actions [...]: exploring is a sampler's business."""
        return parameters.argmax(-1)

    def mode(self, parameters: Tensor) -> Tensor:
        """The best actions [...]."""
        return parameters.argmax(-1)
