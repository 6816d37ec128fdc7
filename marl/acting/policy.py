"""A trained policy on its own: observations in, actions out, normaliser included."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marl.data.layout import dtype_name, flattened, is_empty
from marl.data.normalizer import Normalizer, RunningStatistics
from marl.data.spaces import Spaces
from marl.environments.actions import action_mapping
from marl.errors import EnvironmentFault
from marl.networks.contract import Acts, State, renewed


class Policy:
    """What ``load("weights.pt")`` gives: ``act`` for one observation or many.

    A policy that remembers takes the observations of the same environments, step by step; ``reset`` where an episode
    begins.
    """

    def __init__(
        self, network: Acts, spaces: Spaces, statistics: RunningStatistics | None, info: dict[str, Any]
    ) -> None:
        self.network = network
        self.spaces = spaces
        self.info = info  # environment, network settings, how it was trained
        self.normalizer: Normalizer | None = None
        if statistics is not None:
            self.normalizer = Normalizer(spaces.observation_size)
            self.normalizer.use(statistics)
        self.reset()

    def reset(self, ended: npt.ArrayLike | None = None) -> None:
        """Forget what is remembered: of all environments, or of those whose episode has ended [N]."""
        if ended is None:
            self._state: State | None = None
            self._rows = 0
        elif self._state is not None and not is_empty(self._state):
            with torch.inference_mode():
                fresh = torch.from_numpy(np.asarray(ended, bool))
                self._state = renewed(self._state, fresh, self.network.initial_state(self._rows))

    def act(
        self, observation: npt.ArrayLike, *, greedy: bool = True, generator: torch.Generator | None = None
    ) -> npt.NDArray[Any]:
        """Actions for observations [*shape] or [N, *shape], as the environment's ``step`` takes them.

        Raises:
            EnvironmentFault: the observation has another shape than the policy was trained on, or a policy that
            remembers is shown more or fewer at once than before.
        """
        array = np.asarray(observation)
        single = array.shape == self.spaces.observation_shape
        if not single and array.shape[1:] != self.spaces.observation_shape:
            raise EnvironmentFault(
                f"expected an observation of shape {self.spaces.observation_shape}, or many in a row, got {array.shape}"
            )
        actions = self.draw(array[None] if single else array, greedy=greedy, generator=generator)
        mapped = action_mapping(self.spaces)(actions)
        return mapped[0] if single else mapped

    def draw(
        self, observations: npt.NDArray[Any], *, greedy: bool, generator: torch.Generator | None = None
    ) -> npt.NDArray[Any]:
        """Actions [N, ...] before they are brought to the environment's range."""
        flat = flattened(self.spaces.raw, observations)
        if self.normalizer is None:
            seen = flat.astype(self.spaces.observation_dtype)
        else:
            seen = self.normalizer(flat.astype(dtype_name(self.spaces.raw.dtype), copy=False))
        distribution = self.network.distribution
        with torch.inference_mode():
            parameters, _, self._state = self.network.step(torch.from_numpy(seen), self._remembered(len(seen)))
            if greedy:
                return distribution.mode(parameters).numpy()
            noise = distribution.noise((len(seen),), generator or torch.default_generator)
            return distribution.sample(parameters, noise).numpy()

    def _remembered(self, rows: int) -> State:
        if self._state is None:
            self._state, self._rows = self.network.initial_state(rows), rows
        if rows != self._rows and not is_empty(self._state):
            raise EnvironmentFault(
                f"expected {self._rows} observations as before, got {rows}: call reset() where other episodes begin"
            )
        return self._state
