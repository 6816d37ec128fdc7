"""An environment whose observations and actions are trees, with every kind of leaf."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

LENGTH = 10


class Robot(gymnasium.Env[Any, Any]):
    """Pays for the right grip: one that the tool asks for. Refuses actions outside its space."""

    observation_space: spaces.Space[Any] = spaces.Dict(
        {
            "tool": spaces.Discrete(3, start=1),
            "name": spaces.Text(8),
            "body": spaces.Tuple([spaces.Box(-1e9, 1e9, (2,), np.float64), spaces.MultiBinary(2)]),
            "camera": spaces.Box(0, 255, (8, 8, 3), np.uint8),
            "dials": spaces.MultiDiscrete([2, 4], start=[5, 6]),
        }
    )
    action_space: spaces.Space[Any] = spaces.Dict(
        {
            "grip": spaces.Discrete(3, start=-1),
            "arm": spaces.Box(-2, 3, (1, 2), np.float32),
            "modes": spaces.Tuple([spaces.MultiDiscrete([2, 3], start=[1, 0]), spaces.MultiBinary([2, 1])]),
        }
    )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._clock = 0
        return self._shown(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"{action} lies outside {self.action_space}")
        reward = self._reward(action)
        self._clock += 1
        return self._shown(), reward, False, self._clock == LENGTH, {}

    def _reward(self, action: Any) -> float:
        return float(action["grip"] == self._tool - 2)

    def _shown(self) -> dict[str, Any]:
        self._tool = int(self.np_random.integers(1, 4))
        return {
            "camera": np.full((8, 8, 3), self._clock, np.uint8),  # in another order than the space's
            "body": (np.array([self._clock, 1e8 + self._clock]), np.array([1, 0], np.int8)),
            "tool": np.int64(self._tool),
            "dials": np.array([6, 9]),
            "name": "robot",
        }


class Picker(Robot):
    """Only the grip."""

    action_space = spaces.Discrete(3, start=-1)

    def _reward(self, action: Any) -> float:
        return float(action == self._tool - 2)


class Arm(Robot):
    """Only the arm, which has to be where the tool says."""

    action_space = spaces.Box(-2, 3, (1, 2), np.float32)

    def _reward(self, action: Any) -> float:
        return -float(np.abs(action - self._tool / 3).mean())
