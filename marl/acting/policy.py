"""A trained policy on its own: observations in, actions out, normaliser included."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marl.acting.collect import Acts
from marl.data.layout import dtype_name, flattened
from marl.data.normalizer import Moments, Normalizer
from marl.data.spaces import Spaces
from marl.environments.actions import action_mapping
from marl.errors import EnvironmentFault


class Policy:
    """What ``load("weights.pt")`` gives: ``act`` for one observation or many."""

    def __init__(self, network: Acts, spaces: Spaces, statistics: Moments | None, info: dict[str, Any]) -> None:
        self.network = network
        self.spaces = spaces
        self.info = info  # environment, network settings, how it was trained
        self.normalizer: Normalizer | None = None
        if statistics is not None:
            self.normalizer = Normalizer(spaces.observation_size)
            self.normalizer.use(statistics)

    def act(
        self, observation: npt.ArrayLike, *, greedy: bool = True, generator: torch.Generator | None = None
    ) -> npt.NDArray[Any]:
        """Actions for observations [*shape] or [N, *shape], as the environment's ``step`` takes them.

        Raises:
            EnvironmentFault: the observation has another shape than the policy was trained on.
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
            parameters = self.network.policy(torch.from_numpy(seen))
            if greedy:
                return distribution.mode(parameters).numpy()
            noise = distribution.noise((len(seen),), generator or torch.default_generator)
            return distribution.sample(parameters, noise).numpy()
