"""Environments that forbid some actions, and raise where one is taken all the same."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

DOORS, LENGTH = 4, 8


class Doors(gymnasium.Env[Any, Any]):
    """Pays for the highest door that is open; the observation says nothing of that, the mask all."""

    sizes: tuple[int, ...] = (DOORS,)
    action_space: spaces.Space[Any] = spaces.Discrete(DOORS)
    observation_space: spaces.Space[Any] = spaces.Dict(
        {"observation": spaces.Box(-1, 1, (3,), np.float32), "action_mask": spaces.Box(0, 1, (DOORS,), np.int8)}
    )

    def __init__(self, shut_at: int | None = None) -> None:
        self._shut_at = shut_at

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._clock = 0
        return self._shown()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        taken = np.atleast_1d(action) - self._starts()
        opened = [mask[number] for mask, number in zip(self._masks, taken, strict=True)]
        if not all(opened):
            raise ValueError(f"{action} is shut: {self._masks}")
        best = [np.flatnonzero(mask)[-1] for mask in self._masks]
        self._clock += 1
        ended = self._clock == LENGTH
        observation, info = self._shown()
        return observation, float(np.mean(taken == best)), ended and self.np_random.random() < 0.5, ended, info

    def _starts(self) -> Any:
        return np.zeros(len(self.sizes), int)

    def _shown(self) -> tuple[Any, dict[str, Any]]:
        self._masks = []
        for size in self.sizes:
            mask = (self.np_random.random(size) < 0.5).astype(np.int8)
            mask[self.np_random.integers(size)] = 1
            self._masks.append(mask * (self._clock not in (self._shut_at, LENGTH)))  # nothing is open at the end
        seen = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        return self._as_shown(seen, np.concatenate(self._masks))

    def _as_shown(self, seen: Any, mask: Any) -> tuple[Any, dict[str, Any]]:
        return {"observation": seen, "action_mask": mask}, {}


class InInfo(Doors):
    """The same, said in ``info``."""

    observation_space = spaces.Box(-1, 1, (3,), np.float32)

    def _as_shown(self, seen: Any, mask: Any) -> tuple[Any, dict[str, Any]]:
        return seen, {"action_mask": mask}


class Pairs(Doors):
    """Two doors at once, counted from 1 and from 0; the mask has a name of its own, and other entries lie beside it."""

    sizes = (3, 5)
    action_space = spaces.MultiDiscrete([3, 5], start=[1, 0])
    observation_space = spaces.Dict(
        {"a": spaces.Box(-1, 1, (3,), np.float32), "open": spaces.MultiBinary(8), "side": spaces.Discrete(2)}
    )

    def _starts(self) -> Any:
        return np.array([1, 0])

    def _as_shown(self, seen: Any, mask: Any) -> tuple[Any, dict[str, Any]]:
        return {"a": seen, "open": mask, "side": 1}, {}
