"""Environments whose right answers are known, by ``tests.fakes:name``.

``CountingEnv`` counts, so that order, ends and resets can be read off an observation. The probes are environments that
a correct learner solves in seconds. The faulty ones break gymnasium's promises, one each.
"""

import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from examples.own_environment import Catch

Array = npt.NDArray[Any]
Answer = tuple[Array, float, bool, bool, dict[str, Any]]


class CountingEnv(gymnasium.Env[Array, Any]):
    """Observation: (steps in this episode, number of the episode, a number drawn at reset).

    The reward is 100 * episode + step, so every sum names the steps in it. Episodes last ``length`` steps, and one more
    for each episode before where it ``grows``. ``ends`` is "terminated", "truncated", "both" at once, or "alternate".
    """

    def __init__(self, length: int = 3, ends: str = "terminated", grows: bool = False, start: int = 0) -> None:
        self.observation_space = spaces.Box(-1e6, 1e6, (3,), np.float32)
        self.action_space = spaces.Discrete(3, start=start)
        self._length, self._ends, self._grows = length, ends, grows
        self._episode = -1
        self.actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._episode = 0 if seed is not None else self._episode + 1
        self._step = 0
        self._drawn = float(self.np_random.integers(1000))
        return self._observation(), {}

    def step(self, action: Any) -> Answer:
        if not self.action_space.contains(action):
            raise ValueError(f"expected an action of {self.action_space}, got {action!r}")
        if self._step >= self.episode_length():
            raise RuntimeError("stepped after the end of an episode")
        self.actions.append(action)
        self._step += 1
        ended = self._step == self.episode_length()
        terminated = self._ends in ("terminated", "both") or (self._ends == "alternate" and self._episode % 2 == 0)
        truncated = self._ends in ("truncated", "both") or (self._ends == "alternate" and self._episode % 2 == 1)
        reward = 100.0 * self._episode + self._step
        return self._observation(), reward, ended and terminated, ended and truncated, {}

    def episode_length(self) -> int:
        return self._length + (self._episode if self._grows else 0)

    def _observation(self) -> Array:
        return np.array([self._step, self._episode, self._drawn], np.float32)


def counting(**kwargs: Any) -> CountingEnv:
    return CountingEnv(**kwargs)


def counting_vector(num_envs: int, mode: str, **kwargs: Any) -> SyncVectorEnv:
    """A user's factory that makes its own vector, with any way of resetting."""
    return SyncVectorEnv([lambda: CountingEnv(**kwargs)] * num_envs, copy=False, autoreset_mode=AutoresetMode(mode))


class Probe(gymnasium.Env[Array, Any]):
    """One number to see, two actions; ``_answer`` says what an action is worth and whether it ends the episode."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1, 1, (1,), np.float32)
        self.action_space: spaces.Space[Any] = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._shown = np.float32(self._first())
        return np.array([self._shown], np.float32), {}

    def step(self, action: Any) -> Answer:
        reward, ended = self._answer(action)
        return np.array([self._shown], np.float32), reward, ended, False, {}

    def _first(self) -> float:
        return 0.0

    def _answer(self, action: Any) -> tuple[float, bool]:
        return 1.0, True


class ConstantReward(Probe):
    """One step, reward 1: the value is 1."""


class Unhurried(ConstantReward):
    """A step takes 50 ms as long as a file is there: a run goes on for as long as a test wants, and uses no CPU."""

    def __init__(self, while_there: str) -> None:
        super().__init__()
        self._file = Path(while_there)

    def step(self, action: Any) -> Answer:
        if self._file.exists():
            time.sleep(0.05)
        return super().step(action)


class RewardByObservation(Probe):
    """One step, the reward is the observation, 1 or -1: the value is the observation."""

    def _first(self) -> float:
        return float(self.np_random.choice([-1.0, 1.0]))

    def _answer(self, action: Any) -> tuple[float, bool]:
        return float(self._shown), True


class TwoSteps(Probe):
    """Sees 0, then 1, then a reward of 1: the first value is the discount."""

    def _answer(self, action: Any) -> tuple[float, bool]:
        second = self._shown == 1.0
        self._shown = np.float32(1.0)
        return float(second), bool(second)


class RewardByAction(Probe):
    """A two-armed bandit: action 1 is worth 1, action 0 costs 1."""

    def _answer(self, action: Any) -> tuple[float, bool]:
        return (1.0 if action == 1 else -1.0), True


class ActionByObservation(RewardByObservation):
    """Action 1 is right where 1 is seen, action 0 where -1 is."""

    def _answer(self, action: Any) -> tuple[float, bool]:
        return (1.0 if (action == 1) == (self._shown > 0) else -1.0), True


class Cut(Probe):
    """A reward of 1 a step, cut after every step: the value is 1 / (1 - discount), as only a bootstrap can know."""

    def step(self, action: Any) -> Answer:
        return np.array([self._shown], np.float32), 1.0, False, True, {}


class Continuous(RewardByObservation):
    """One step in the box [0, 4]: best is 3 where 1 is seen, and 1 where -1 is."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = spaces.Box(0.0, 4.0, (1,), np.float32)

    def _answer(self, action: Any) -> tuple[float, bool]:
        assert self.action_space.contains(action), action
        return -float(np.square(action[0] - (2.0 + self._shown))), True


class Pixels(Catch):
    """A ball to catch, as bytes: nothing is 0, ball and paddle are 255."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space: spaces.Box = spaces.Box(0, 255, self.observation_space.shape, np.uint8)

    def _picture(self) -> Array:
        return (255 * super()._picture()).astype(np.uint8)


class Faulty(CountingEnv):
    """Counts well until step ``at`` (counted over all episodes), then breaks one promise.

    ``fault``: "nan", "nan_reward", "outside", "shape", "raise", "raise_reset", "four".
    """

    def __init__(self, fault: str, at: int = 2, length: int = 100, ends: str = "terminated") -> None:
        super().__init__(length=length, ends=ends)
        self._fault, self._at, self._total = fault, at, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        if self._fault == "raise_reset" and self._total >= self._at:
            raise RuntimeError("the reset broke")
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        self._total += 1
        if self._total != self._at:
            return observation, reward, terminated, truncated, info
        match self._fault:
            case "nan":
                observation[1] = np.nan
            case "outside":
                observation[1] = 2e6
            case "nan_reward":
                reward = float("nan")
            case "shape":
                observation = observation[:2]
            case "raise":
                raise RuntimeError("the motor broke")
            case "four":
                return observation, reward, terminated, info
        return observation, reward, terminated, truncated, info


def faulty_vector(num_envs: int, mode: str, **kwargs: Any) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: Faulty(**kwargs)] * num_envs, copy=False, autoreset_mode=AutoresetMode(mode))


class Boxed(gymnasium.Env[Array, Array]):
    """Never ends; remembers the actions it got, for any Box."""

    def __init__(self, low: list[float], high: list[float], shape: tuple[int, ...] | None = None) -> None:
        self.observation_space = spaces.Box(-1, 1, (1,), np.float32)
        bounds = np.array(low, np.float32), np.array(high, np.float32)
        self.action_space = spaces.Box(*(bound.reshape(shape or bound.shape) for bound in bounds), dtype=np.float32)
        self.actions: list[Array] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Array) -> Answer:
        assert self.action_space.contains(action), action
        self.actions.append(np.array(action))
        return np.zeros(1, np.float32), 0.0, False, False, {}


class Unrepeatable(CountingEnv):
    """Draws from a stream that no seed reaches."""

    _draws = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        Unrepeatable._draws += 1
        self._drawn = float(Unrepeatable._draws)
        return self._observation(), {}


class DictObservations(CountingEnv):
    """A space that no network here can handle."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Dict({"a": spaces.Text(2)})  # type: ignore[assignment]


NOT_CALLABLE = 3


class NotEnv:
    """Made like an environment, and none."""


def refuses_to_start() -> CountingEnv:
    raise OSError("no licence found")


gymnasium.register("FakeCounting-v0", entry_point=CountingEnv)
gymnasium.register("FakeCounting-v3", entry_point=CountingEnv, kwargs={"length": 7})
gymnasium.register("FakeLimited-v0", entry_point=CountingEnv, max_episode_steps=2)
