"""envpool's batches behind gymnasium's vector interface."""

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


class EnvpoolVector(VectorEnv[Any, Any, Any]):
    """One envpool of ``num_envs`` environments; it resets an ended environment on the step after the end."""

    metadata = {  # noqa: RUF012  as gymnasium declares it
        "autoreset_mode": AutoresetMode.NEXT_STEP,
        "render_modes": [],
    }

    def __init__(self, name: str, num_envs: int, kwargs: dict[str, Any]) -> None:
        self._name, self._kwargs, self.num_envs = name, kwargs, num_envs
        self._pool = self._make(seed=0)
        self.single_observation_space = self._pool.observation_space
        self.single_action_space = self._pool.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def _make(self, seed: int) -> Any:
        import envpool

        # envpool's own threads would fight with the worker for its one core
        return envpool.make_gymnasium(self._name, num_envs=self.num_envs, num_threads=1, seed=seed, **self._kwargs)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Start all episodes anew; envpool takes a seed only when it is made, so a seed makes it again."""
        if seed is not None:
            self._pool.close()
            self._pool = self._make(int(np.ravel(seed)[0]))
        observations, _ = self._pool.reset()
        return observations, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of all environments."""
        return (*self._pool.step(actions)[:4], {})

    def close_extras(self, **kwargs: Any) -> None:
        """Release the pool."""
        self._pool.close()
