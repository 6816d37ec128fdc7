import numpy as np
import pytest

from marl.acting.policy import Policy
from marl.environments.describe import describe
from marl.errors import EnvironmentFault
from marl.networks.actor_critic import ActorCritic
from marl.networks.settings import NetworkSettings
from tests.plain_spaces import plain_spaces
from tests.robots import Robot

SPACES = plain_spaces((3,), num_actions=2)


def test_one_observation_or_many():
    policy = Policy(ActorCritic(SPACES, NetworkSettings(), 0), SPACES, None, {})
    assert np.shape(policy.act([0.0, 0.0, 0.0])) == ()
    assert policy.act(np.zeros((5, 3))).shape == (5,)
    with pytest.raises(EnvironmentFault, match=r"\(3,\)"):
        policy.act(np.zeros(4))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tool": 4}, "observation tool 4 lies outside its space of 1 to 3"),
        ({"tool": 1.5}, "observation tool holds float64 where whole numbers belong"),
        ({"tool": "two"}, "expected an observation of shape"),
        ({"tool": None}, "expected an observation of shape"),
        ({"dials": [5, 10]}, "observation dials 10 lies outside its space of 6 to 9"),
        ({"body": (np.array([0.0, np.nan]), np.array([0, 1]))}, "observation body/0 nan is not finite"),
        ({"body": (np.zeros(2), np.array([0, 2]))}, "observation body/1 2 lies outside its space of 0 to 1"),
    ],
)
def test_numbers_that_are_none(changes, words):
    spaces = describe(Robot.observation_space, Robot.action_space, ["name"])
    policy = Policy(ActorCritic(spaces, NetworkSettings(), 0), spaces, None, {})
    observation, _ = Robot().reset(seed=0)
    assert Robot.action_space.contains(policy.act(observation))
    with pytest.raises(EnvironmentFault, match=words):
        policy.act({**observation, **changes})
