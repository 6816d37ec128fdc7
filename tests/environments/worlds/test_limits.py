"""Which environments end every episode themselves."""

import gymnasium
import pytest
from gymnasium.wrappers import TimeLimit

from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
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
