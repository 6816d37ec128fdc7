import numpy as np
import pytest

from marl.acting.policy import Policy
from marl.errors import EnvironmentFault
from marl.networks.actor_critic import ActorCritic
from marl.networks.settings import NetworkSettings
from tests.plain_spaces import plain_spaces

SPACES = plain_spaces((3,), num_actions=2)


def test_one_observation_or_many():
    policy = Policy(ActorCritic(SPACES, NetworkSettings(), 0), SPACES, None, {})
    assert np.shape(policy.act([0.0, 0.0, 0.0])) == ()
    assert policy.act(np.zeros((5, 3))).shape == (5,)
    with pytest.raises(EnvironmentFault, match=r"\(3,\)"):
        policy.act(np.zeros(4))
