import gymnasium
import pytest
from gymnasium.vector import SyncVectorEnv

from marl.acting import evaluate
from marl.acting.evaluate import play
from marl.environments.vector import Environments


class Endless(gymnasium.Env):
    """Pays 1 a step, for ever."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return self.observation_space.low, {}

    def step(self, action):
        return self.observation_space.low, 1.0, False, False, {}


class AlwaysZero:
    def draw(self, observations, *, greedy, generator):
        return observations[:, 0].astype(int) * 0


def test_an_episode_that_never_ends_is_judged_by_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A greedy policy may stand still for ever where nothing cuts its episode: no command may hang on that."""
    monkeypatch.setattr(evaluate, "MAX_EPISODE_STEPS", 10)
    environments = Environments(SyncVectorEnv([Endless] * 2), "endless")
    assert play(AlwaysZero(), environments, episodes=3, seeds=[0, 1], greedy=True).tolist() == [10, 10, 10]
