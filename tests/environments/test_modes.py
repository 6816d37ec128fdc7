from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments


def test_cartpole_uses_its_own_vectorised_form():
    environments = make_environments(EnvironmentSettings(id="CartPole-v1"), 3)
    assert environments.reset([1, 2, 3]).shape == (3, 4)
    assert environments.spaces.num_actions == 2
    environments.close()
