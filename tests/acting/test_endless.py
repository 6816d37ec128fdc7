"""Episodes that do not end by themselves are cut, for the environment too, however its vector resets."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from marl.acting.evaluate import episode_limit, play
from marl.environments.vector import Environments

LIMIT = 10


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marl.acting.evaluate.MAX_EPISODE_STEPS", LIMIT)


class Endless(gymnasium.Env):
    """Pays in the first three steps of an episode, then goes on for ever, or up to ``length``."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length: float = np.inf) -> None:
        self._length = length

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self._steps = 0
        return self.observation_space.low, {}

    def step(self, action: Any) -> Any:
        self._steps += 1
        return self.observation_space.low, float(self._steps <= 3), self._steps >= self._length, False, {}


class WholeResetsOnly(SyncVectorEnv):
    """A vector of a user's own that has never heard of masks."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        assert not options
        return super().reset(seed=seed)


class AlwaysZero:
    def reset(self, ended: Any = None) -> None: ...

    def draw(self, observations: Any, *, greedy: bool, generator: Any) -> Any:
        return observations[:, 0].astype(int) * 0


@pytest.mark.parametrize("episodes", [3, 2, 9])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_no_episode_goes_on_from_a_cut_one(mode: AutoresetMode, episodes: int) -> None:
    kind = SyncVectorEnv if mode is AutoresetMode.DISABLED else WholeResetsOnly
    environments = Environments(kind([Endless] * 2, autoreset_mode=mode), "endless")
    returns, cut, _ = play(AlwaysZero(), environments, episodes=episodes, seeds=[0, 1], greedy=True)
    assert (returns.tolist(), cut) == ([3.0] * episodes, episodes)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize(("length", "expected"), [(2, 2.0), (LIMIT - 1, 3.0), (LIMIT, 3.0)])
def test_those_that_end_by_themselves_are_not_counted_as_cut(mode: AutoresetMode, length: int, expected: float) -> None:
    """Every second environment is endless; the others play on while it waits to be reset."""
    environments = Environments(SyncVectorEnv([Endless, lambda: Endless(length)], autoreset_mode=mode), "mixed")
    returns, cut, _ = play(AlwaysZero(), environments, episodes=8, seeds=[0, 1], greedy=True)
    assert sorted(returns.tolist()) == sorted([3.0] * 4 + [expected] * 4)
    assert cut == 4


def test_a_limit_of_ones_own() -> None:
    environments = Environments(SyncVectorEnv([lambda: Endless(7), lambda: Endless(6)]), "mixed")
    played = play(AlwaysZero(), environments, episodes=4, seeds=[0, 1], greedy=True, limit=7)
    assert (played.cut, played.returns.tolist()) == (0, [3.0] * 4)
    played = play(AlwaysZero(), environments, episodes=4, seeds=[0, 1], greedy=True, limit=6)
    assert (played.cut, played.returns.tolist()) == (2, [3.0] * 4)


def test_the_limit_follows_the_training_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marl.acting.evaluate.MAX_EPISODE_STEPS", 27_000)
    limits = {longest: episode_limit(longest) for longest in (None, 1, 333, 334, 8_999, 9_001)}
    assert limits == {None: 27_000, 1: 1_000, 333: 1_000, 334: 1_002, 8_999: 26_997, 9_001: 27_000}
