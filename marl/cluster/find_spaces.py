"""The spaces of a run's environment."""

import contextlib
from typing import Any

from marl.config.settings import Config
from marl.data.spaces import Spaces
from marl.environments.make import make_vector
from marl.environments.vector import make_environments
from marl.plugins import foreign_code
from marl.processes.signals import raising


def find_spaces(config: Config) -> Spaces:
    """Make one environment to find out its spaces.

    Raises:
        EnvironmentFault: there is no such environment, or none that can be trained on.
        PluginError: it changes torch's defaults.
    """
    with (
        raising(),
        foreign_code(config.environment.id),
        contextlib.closing(make_environments(config.environment, 1)) as environments,
    ):
        return environments.spaces


def find_entries(config: Config, spaces: Spaces) -> tuple[str, ...]:
    """The entries of an observation that is a Dict, in the environment's own order: ``spaces`` has them sorted.

    Raises:
        EnvironmentFault: as for ``find_spaces``.
    """
    if not isinstance(spaces.observations, dict):
        return ()
    with (
        raising(),
        foreign_code(config.environment.id),
        contextlib.closing(make_vector(config.environment, 1)) as vector,
    ):
        space: Any = vector.single_observation_space
        return tuple(space.spaces)
