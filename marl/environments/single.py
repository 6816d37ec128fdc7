"""A vector of one environment, seen as that environment: for what looks at one alone."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from marl.environments.closing import close_one


class OfVector(gymnasium.Env[Any, Any]):
    """The only environment of a vector; closing it closes the vector."""

    def __init__(self, vector: VectorEnv[Any, Any, Any]) -> None:
        self._vector = vector
        self.metadata = {**vector.metadata}
        self.render_mode = vector.render_mode
        self.vector_spec: Any = vector.spec  # not ``spec``: gymnasium's wrappers do not know envpool's kind

    @property
    def observation_space(self) -> Any:  # type: ignore[override]
        """Of one environment."""
        return self._vector.single_observation_space

    @property
    def action_space(self) -> Any:  # type: ignore[override]
        """Of one environment."""
        return self._vector.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; what lies in ``info`` is left out."""
        super().reset(seed=seed)
        return self._first(self._vector.reset(seed=seed, options=options)[0]), {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step; after the last of an episode, its true observation."""
        space = self.action_space
        empty: Any = create_empty_array(space, n=1)
        actions = concatenate(space, (action,), empty)
        observations, rewards, terminated, truncated, info = self._vector.step(actions)
        final = info.get("final_obs", info.get("final_observation"))
        mode = self.metadata.get("autoreset_mode")
        if (terminated[0] or truncated[0]) and final is not None and AutoresetMode(mode) is AutoresetMode.SAME_STEP:
            observation = final[0]
        else:
            observation = self._first(observations)
        return observation, rewards[0], bool(terminated[0]), bool(truncated[0]), {}

    def render(self) -> Any:
        """Its picture."""
        pictures = self._vector.render()
        return None if pictures is None else pictures[0]

    def close(self) -> None:
        """Close the vector."""
        close_one(self._vector)

    def _first(self, observations: Any) -> Any:
        """What the first one shows, no view of what the next step overwrites."""
        space = self._vector.observation_space
        if isinstance(self.observation_space, gymnasium.spaces.Box):
            return np.array(observations[0])
        return next(iter(iterate(space, observations)))
