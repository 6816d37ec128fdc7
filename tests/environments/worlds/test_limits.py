"""Which environments end every episode themselves."""

from types import SimpleNamespace

import gymnasium
import pytest
from gymnasium.vector import VectorWrapper
from gymnasium.wrappers import TimeLimit

from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.environments.worlds.limits import is_limited
from tests.cluster.runs.test_stacks import Falling


def limited() -> gymnasium.Env:
    """One that somebody has wrapped."""
    return TimeLimit(gymnasium.make("CliffWalking-v1"), 50)


def unlimited() -> Falling:
    return Falling()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CartPole-v1", True),  # a vector of its own
        ("MountainCar-v0", True),  # one after another
        ("CliffWalking-v1", False),
        ("ALE/Pong-v5", True),
        (f"{__name__}:limited", True),
        (f"{__name__}:unlimited", False),
    ],
)
def test_a_limit_that_gymnasium_or_the_emulator_knows(name: str, expected: bool) -> None:
    environments = make_environments(EnvironmentSettings(id=name), 2)
    environments.close()
    assert environments.is_limited == expected


class Pool(VectorWrapper):
    """Described as envpool does it."""

    def __init__(self, limit: int | None) -> None:
        super().__init__(gymnasium.make_vec("CliffWalking-v1", 2, "sync"))
        self._own = SimpleNamespace(config=SimpleNamespace(max_episode_steps=limit))

    @property
    def spec(self) -> SimpleNamespace:
        return self._own


@pytest.mark.parametrize(("limit", "expected"), [(30, True), (None, False)])
def test_a_limit_that_envpool_knows(limit: int | None, expected: bool) -> None:
    pool = Pool(limit)
    assert is_limited(EnvironmentSettings("CliffWalking-v1", backend="envpool"), pool) == expected
    pool.close()
