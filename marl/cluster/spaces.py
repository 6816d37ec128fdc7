"""The spaces of a run's environment."""

from marl.config.settings import Config
from marl.data.spaces import Spaces
from marl.environments.vector import make_environments


def find_spaces(config: Config) -> Spaces:
    """Make one environment and look.

    Raises:
        EnvironmentFault: there is no such environment, or none that can be trained on.
    """
    environments = make_environments(config.environment, 1)
    environments.close()
    return environments.spaces
