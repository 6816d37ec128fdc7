"""An environment of one's own: catch the ball that falls.

Any ``gymnasium.Env`` will do, with Box observations and Discrete or Box actions. Registered with a threshold, it says
itself when it is solved; otherwise give ``environment.solved_return``, or ``--steps``.

    marl check examples.own_environment:Catch-v0      # is it sound, how fast is it?
    marl train examples.own_environment:Catch-v0      # or: python -m examples.own_environment
    marl train examples.own_environment:Catch --set environment.kwargs={columns=9} --steps 200000

All commands here are for the folder above this one, so that ``examples`` can be imported.
"""

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.float32]


class Catch(gymnasium.Env[Picture, np.int64]):
    """A ball falls from the top row to the bottom one, where a paddle moves left, stays or moves right."""

    def __init__(self, rows: int = 7, columns: int = 5) -> None:
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (rows, columns), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self._rows, self._columns = rows, columns

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Picture, dict[str, Any]]:
        """A new ball; all chance comes from ``self.np_random``, so that a seed repeats everything."""
        super().reset(seed=seed)
        self._row, self._ball = 0, int(self.np_random.integers(self._columns))
        self._paddle = self._columns // 2
        return self._picture(), {}

    def step(self, action: np.int64) -> tuple[Picture, float, bool, bool, dict[str, Any]]:
        """The ball falls by one row; in the last one it is worth 1 where it meets the paddle, else it costs 1."""
        self._paddle = min(max(self._paddle + int(action) - 1, 0), self._columns - 1)
        self._row += 1
        landed = self._row == self._rows - 1
        reward = 0.0 if not landed else 1.0 if self._ball == self._paddle else -1.0
        return self._picture(), reward, landed, False, {}  # landed: the episode terminated; nothing ever cuts one

    def _picture(self) -> Picture:
        picture = np.zeros((self._rows, self._columns), np.float32)
        picture[self._row, self._ball] = 1.0
        picture[-1, self._paddle] = 1.0
        return picture


if "Catch-v0" not in gymnasium.registry:  # it is, where this file is the program and is imported as well
    gymnasium.register("Catch-v0", entry_point="examples.own_environment:Catch", reward_threshold=0.9)

if __name__ == "__main__":
    from marl.api import train

    # With the usual .01 some runs are certain too soon of a policy that misses one column.
    print(train("examples.own_environment:Catch-v0", settings={"algorithm.entropy_cost": 0.03}).reason)
