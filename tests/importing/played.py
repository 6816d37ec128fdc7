"""Environments of all kinds of spaces that stable-baselines3 has policies for; nothing happens in them."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

FOUR = spaces.Box(-1, 1, (4,), np.float32)
PICTURE = spaces.Box(0, 255, (40, 36, 3), np.uint8)
BOX = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 5], np.float32))
SPACES: dict[str, tuple[spaces.Space[Any], spaces.Space[Any]]] = {
    "discrete": (spaces.Box(-1, 1, (2, 3), np.float64), spaces.Discrete(3)),
    "box": (FOUR, BOX),
    "open_box": (FOUR, spaces.Box(0, np.inf, (2,), np.float32)),
    "categories": (spaces.MultiDiscrete([3, 4]), spaces.MultiDiscrete([2, 3])),
    "bits": (spaces.MultiBinary(6), spaces.MultiBinary(3)),
    "state": (spaces.Discrete(5), spaces.Discrete(4)),
    "bytes": (spaces.Box(0, 255, (5,), np.uint8), spaces.Discrete(4)),
    "picture": (PICTURE, spaces.Discrete(4)),
    "picture_box": (spaces.Box(0, 255, (3, 40, 36), np.uint8), BOX),
    "tree": (spaces.Dict({"a": FOUR, "b": FOUR}), spaces.Discrete(3)),
    "nested": (spaces.Dict(a=spaces.Dict(b=FOUR)), spaces.Discrete(3)),
    "mixed": (
        spaces.Dict(OrderedDict(state=spaces.Discrete(5), bits=spaces.MultiBinary(3), arm=FOUR)),  # not sorted
        spaces.Discrete(3),
    ),
    "camera": (spaces.Dict(view=PICTURE, arm=FOUR, far=PICTURE), BOX),
}


class Still(gymnasium.Env[Any, Any]):
    """Two steps of the same reward."""

    def __init__(self, which: str) -> None:
        self.observation_space, self.action_space = SPACES[which]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return self.observation_space.sample(), 1.0, self._steps == 2, False, {}


ANY: dict[str, Callable[[], Still]] = {which: partial(Still, which) for which in SPACES}
globals().update(ANY)
