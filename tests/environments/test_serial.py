from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from marl.environments.check import examine
from marl.environments.make import make_vector
from marl.environments.serial import SerialVector
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from tests.fakes import Boxed, CountingEnv


class Contacts(CountingEnv):
    """Its ``info`` has another shape at each step, as lists of contacts in simulators have."""

    def reset(self, **options: Any) -> Any:
        return super().reset(**options)[0], {"contacts": np.zeros(1)}

    def step(self, action: Any) -> Any:
        answer = super().step(action)
        return *answer[:4], {
            "contacts": np.zeros(len(self.actions) + 1),
            "nested": {"step": [None] * len(self.actions)},
        }


@pytest.mark.parametrize(
    "make",
    [
        lambda: CountingEnv(length=3, ends="alternate", grows=True),
        lambda: Boxed(low=[-1, 0], high=[1, 3]),
        lambda: gymnasium.make("Acrobot-v1", max_episode_steps=7),
        lambda: gymnasium.make("Pendulum-v1", max_episode_steps=5),
    ],
)
def test_the_same_bits_as_gymnasiums_own(make: Any) -> None:
    ours = SerialVector(make, 3)
    theirs = SyncVectorEnv([make] * 3, autoreset_mode=AutoresetMode.NEXT_STEP)
    assert np.array_equal(ours.reset(seed=[1, 2, 3])[0], theirs.reset(seed=[1, 2, 3])[0])
    ours.action_space.seed(0)
    for _ in range(40):
        actions = ours.action_space.sample()
        mine, other = ours.step(actions), theirs.step(actions)
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(mine[:4], other[:4], strict=True))
        assert mine[4] == {}


def test_info_is_not_read() -> None:
    environments = make_environments(EnvironmentSettings(id="tests.environments.test_serial:Contacts"), 2)
    environments.reset([0, 1])
    lengths = [environments.step(np.zeros(2, np.int64)).valid.sum() for _ in range(8)]
    assert lengths == [2, 2, 2, 0, 2, 2, 2, 0]


def test_check_allows_it() -> None:
    report = examine(EnvironmentSettings(id="tests.environments.test_serial:Contacts"), seed=1, seconds=0.01)
    assert report.problems == []


def test_a_registered_environment_is_stepped_so_too() -> None:
    assert isinstance(make_vector(EnvironmentSettings(id="Acrobot-v1"), 2), SerialVector)
