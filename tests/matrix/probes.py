"""A family of environments, each solved only by a policy that uses what its cell of the matrix is about."""

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

SIDE = 5  # pixels of the picture
BEST = 0.5  # distance from 0 of the best measured action

Array = npt.NDArray[Any]


class Probe(gymnasium.Env[Any, Any]):
    """Each episode has a cue, yes or no, and pays up to 1 for the action that the cue asks for.

    ``shows`` says where the cue is: in "numbers", in a "picture", or in numbers of the first of two steps only
    ("memory"), of which the second pays. With ``tree`` it lies in the second entry of a Dict, and the first is noise.

    ``acts``: "discrete" wants the category of the cue, "multi" the cue's and the other one, "box" a number with the
    sign of the cue. ``masked``: each category is there twice, and the mask allows one of both; the other one raises.
    """

    def __init__(self, shows: str, acts: str, masked: bool = False, tree: bool = False) -> None:
        self._remembers, self._tree, self._masked, self._pictures = shows == "memory", tree, masked, shows == "picture"
        seen: spaces.Space[Any] = spaces.Box(-1, 1, (2,), np.float32)
        if self._pictures:
            seen = spaces.Box(0, 255, (SIDE, SIDE, 1), np.uint8)
        self._numbers = {"discrete": 1, "multi": 2, "box": 0}[acts]
        entries: dict[str, spaces.Space[Any]] = {"a": spaces.Box(-1, 1, (2,), np.float32), "b": seen}
        if masked:
            entries["action_mask"] = spaces.MultiBinary(4 * self._numbers or 2)
        self.observation_space = spaces.Dict(entries) if tree else seen
        categories = 4 if masked else 2
        self.action_space = {
            "discrete": spaces.Discrete(categories),
            "multi": spaces.MultiDiscrete([categories] * 2),
            "box": spaces.Box(-1, 1, (1,), np.float32),
        }[acts]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._cue = bool(self.np_random.integers(2))
        self._left = int(self._remembers)
        return self._shown(visible=True)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward, ended = self._worth(action), self._left == 0
        self._left -= 1
        observation, info = self._shown(visible=False)
        return observation, reward if ended else 0.0, ended, False, info

    def _worth(self, action: Any) -> float:
        if not self._numbers:
            return 1.0 - 2.0 * abs(float(action[0]) - (BEST if self._cue else -BEST))
        taken = np.atleast_1d(action)
        if self._masked:
            for mask, number in zip(self._masks, taken, strict=True):
                if not mask[number]:
                    raise ValueError(f"{action} is forbidden by {self._masks}")
            taken = taken // 2
        return float(np.mean([number == (self._cue ^ bool(place)) for place, number in enumerate(taken)]))

    def _shown(self, *, visible: bool) -> tuple[Any, dict[str, Any]]:
        seen: Array
        if self._pictures:
            seen = np.zeros((SIDE, SIDE, 1), np.uint8)
            seen[self.np_random.integers(SIDE), -1 if self._cue else 0] = 255
        else:
            sign = (1.0 if self._cue else -1.0) if visible else 0.0
            seen = np.array([sign, self.np_random.uniform(-1, 1)], np.float32)
        info: dict[str, Any] = {}
        observation: Any = seen
        if self._tree:
            observation = {"a": self.np_random.uniform(-1, 1, 2).astype(np.float32), "b": seen}
        if self._masked:
            self._masks = [np.ravel(np.eye(2, dtype=np.int8)[self.np_random.integers(2, size=2)])]
            self._masks += [1 - self._masks[0]] * (self._numbers - 1)
            (observation if self._tree else info)["action_mask"] = np.concatenate(self._masks)
        return observation, info
