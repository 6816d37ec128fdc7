"""A pole on a cart that hangs down at first: swing it up and keep it up.

The dynamics are those of gymnasium's CartPole (Barto, Sutton, Anderson 1983), in steps of 20 ms; the task is harder, as
a policy must first go away from where it wants to be. One numpy expression steps all environments, so that a study
spends its time on learning. To study environments whose step is slow, ``step_ms`` makes each step take longer.

    marl train studies.swing_up:SwingUp --config studies/swing_up.base.toml
"""

import time
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

GRAVITY, CART, POLE, HALF_LENGTH = 9.8, 1.0, 0.1, 0.5  # m/s^2, kg, kg, m
FORCE, SECONDS = 10.0, 0.02  # N, of a step
TRACK = 2.4  # m; a cart that reaches its end stands still there
STEPS = 500  # of an episode

Array = npt.NDArray[np.float32]


class SwingUp(VectorEnv[Array, Any, Any]):
    """Five numbers to see: place and speed of the cart, cosine and sine of the pole's angle, its speed. Three actions:
    push left, do not push, push right. The reward of a step is the cosine of the angle, where that is above 0.
    """

    def __init__(self, num_envs: int = 1, step_ms: float = 0.0) -> None:
        """``step_ms``: how long each step of each environment sleeps, as one that computes would take."""
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        high = np.array([TRACK, np.inf, 1.0, 1.0, np.inf], np.float32)
        self.single_observation_space = gymnasium.spaces.Box(-high, high)
        self.single_action_space = gymnasium.spaces.Discrete(3)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._sleep_s = 1e-3 * step_ms * num_envs
        self._state = np.zeros((4, num_envs))  # place, speed, angle (0 is up), speed of the angle
        self._count = np.zeros(num_envs, np.int64)
        self._ended = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """See gymnasium. One seed is of all environments together."""
        super().reset(seed=seed[0] if isinstance(seed, list) else seed)
        self._begin(np.ones(self.num_envs, bool))
        return self._seen(), {}

    def step(self, actions: npt.NDArray[np.int64]) -> tuple[Array, Array, Any, Any, dict[str, Any]]:
        """See gymnasium. Episodes never end by themselves; all are cut after ``STEPS``."""
        if self._sleep_s:
            time.sleep(self._sleep_s)
        again = self._ended
        self._move((np.asarray(actions) - 1) * FORCE)
        self._count += 1
        rewards = np.maximum(np.cos(self._state[2]), 0.0)
        rewards[again] = 0.0
        self._begin(again)
        self._ended = self._count >= STEPS
        return self._seen(), rewards, np.zeros(self.num_envs, bool), self._ended.copy(), {}

    def _begin(self, which: npt.NDArray[np.bool_]) -> None:
        """New episodes: the pole hangs, nearly at rest."""
        if which.any():
            fresh = self.np_random.uniform(-0.05, 0.05, (4, int(which.sum())))
            fresh[2] += np.pi
            self._state[:, which] = fresh
            self._count[which] = 0

    def _move(self, force: npt.NDArray[np.float64]) -> None:
        place, speed, angle, turning = self._state
        sine, cosine = np.sin(angle), np.cos(angle)
        pushed = (force + POLE * HALF_LENGTH * turning**2 * sine) / (CART + POLE)
        turns = (GRAVITY * sine - cosine * pushed) / (HALF_LENGTH * (4 / 3 - POLE * cosine**2 / (CART + POLE)))
        moves = pushed - POLE * HALF_LENGTH * turns * cosine / (CART + POLE)
        speed, turning = speed + SECONDS * moves, turning + SECONDS * turns
        place, angle = place + SECONDS * speed, angle + SECONDS * turning
        stands = np.abs(place) >= TRACK
        self._state = np.stack([np.clip(place, -TRACK, TRACK), np.where(stands, 0.0, speed), angle, turning])

    def _seen(self) -> Array:
        place, speed, angle, turning = self._state
        return np.stack([place, speed, np.cos(angle), np.sin(angle), turning], axis=1).astype(np.float32)
