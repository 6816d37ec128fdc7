"""Rules for the numbers of an environment, and that training and its check apply the same."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import Env
from gymnasium.spaces import Box, Discrete

from marl.acting.collect import Collector
from marl.environments.check import blur_of, examine
from marl.environments.numbers import blurred, fault_of
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.errors import EnvironmentFault
from marl.networks.distributions import Categorical
from tests.fake_algorithms import FixedPolicy

pytestmark = pytest.mark.filterwarnings("error")
MOST = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    ("numbers", "fault"),
    [
        ([1.0, MOST], None),
        ([True, False], None),
        (np.array([2**63], np.uint64), None),
        (np.zeros(2, np.float16), None),
        ([1e39], "reward 1e+39 is too large for float32"),
        ([0.0, -1e300], "reward -1e+300 is too large for float32"),
        ([np.inf], "reward inf is not finite"),
        (np.array([np.nan], np.float32), "reward nan is not finite"),
        (np.array([None]), "reward None is no number"),
        (np.array([10**400]), "reward 1000000000000000000000000000000000000000 is no number"),
        (["1.0"], "reward np.str_('1.0') is no number"),
        ([1j], "reward np.complex128(1j) is no number"),
    ],
)
def test_what_can_be_learned_from(numbers: Any, fault: str | None) -> None:
    assert fault_of("reward", np.asarray(numbers)) == fault


class Answers(Env[Any, Any]):
    """Answers with a reward and an observation that are given."""

    action_space = Discrete(2)

    def __init__(self, reward: Any = 0.0, observation: Any = 0.0, dtype: Any = np.float64) -> None:
        self.observation_space = Box(-np.inf, np.inf, (1,), dtype)
        self._answer = [observation], reward
        self._dtype = dtype

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(1, self._dtype), {}

    def step(self, action: Any) -> Any:
        observation, reward = self._answer
        return np.array(observation), reward, False, False, {}


def trained(settings: EnvironmentSettings) -> str:
    """What one trajectory says."""
    environments = make_environments(settings, 2)
    collector = Collector(
        environments, length=3, discount=0.9, reward_scale=1.0, generator=torch.Generator(), seeds=[0, 1]
    )
    try:
        collector.collect(FixedPolicy(Categorical(2), [0.0, 0.0], size=1), None, 0)
    except EnvironmentFault as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"reward": 1e39}, "reward 1e+39 is too large for float32"),
        ({"reward": float("nan")}, "reward nan is not finite"),
        ({"reward": -np.inf}, "reward -inf is not finite"),
        ({"reward": 10**400}, "int too large to convert to float"),
        ({"reward": np.array([1.0])}, "setting an array element with a sequence"),
        ({"reward": np.zeros(2)}, "setting an array element with a sequence"),
        ({"reward": None}, "reward nan is not finite"),
        ({"reward": 1j}, "not 'complex'"),
        ({"reward": "much"}, "could not convert string to float"),
        ({"observation": 1e39}, "observation 1e+39 is too large for float32"),
        ({"observation": np.nan}, "observation nan is not finite"),
        ({"reward": True}, ""),
        ({"reward": 2**60}, ""),
        ({"reward": np.float32(3)}, ""),
        ({"observation": 1e30}, ""),
        ({"observation": 2**60, "dtype": np.int64}, ""),
    ],
)
def test_training_and_its_check_refuse_the_same(kwargs: dict[str, Any], words: str) -> None:
    settings = EnvironmentSettings(id="tests.environments.test_numbers:Answers", kwargs=kwargs, per_worker=2)
    said = trained(settings)
    found = examine(settings, seed=0, seconds=0.01).problems
    assert words in said
    assert [words in line for line in found] == [True] * bool(words)
    assert bool(said) == bool(words)


def test_values_that_float32_cannot_tell_apart() -> None:
    rng = np.random.default_rng(0)
    fine = np.column_stack([1.7e9 + rng.integers(2, size=50), rng.normal(0, 1, 50), np.full(50, 3e9)])
    text = blurred(fine)
    assert text is not None
    assert text.startswith(
        "number 0 of an observation varies by 1 around 1.7e+09, which float32 does not tell apart: set"
    )
    assert blurred(fine[:, 1:]) is None
    rounded = np.column_stack([1 + 1e-16 * rng.integers(-3, 3, 50), 1.7e9 + 10_000 * rng.random(50)])
    assert blurred(rounded) is None


class Stamps(Answers):
    """A time stamp whose last digit matters."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return np.array([1.7e9]), super().reset(seed=seed)[1]

    def step(self, action: Any) -> Any:
        return np.array([1.7e9 + self.np_random.integers(2)]), 0.0, False, False, {}


def test_check_and_training_say_what_float32_loses() -> None:
    name = "tests.environments.test_numbers:Stamps"
    settings = EnvironmentSettings(id=name, per_worker=2)
    spaces = make_environments(settings, 1).spaces
    warnings = examine(settings, seed=0, seconds=0.01).warnings
    assert warnings == [blur_of(settings, spaces)]
    assert "normalize_observations = true" in warnings[0]
    assert blur_of(EnvironmentSettings(id=name, normalize_observations=True), spaces) is None


def test_check_names_ranges_that_hide_the_goal() -> None:
    kwargs = {"low": [-1, 5], "high": [1, float("inf")]}
    report = examine(EnvironmentSettings(id="tests.fakes:Boxed", kwargs=kwargs, per_worker=2), seed=0, seconds=0.01)
    assert ["number 1 of an action has no high bound" in each for each in report.warnings] == [True]
