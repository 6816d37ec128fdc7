"""The spaces of a run's environment."""

import contextlib
from typing import Any

import numpy as np

from marl.config.settings import Config
from marl.data.spaces import Spaces
from marl.environments.actions import random_actions
from marl.environments.make import make_vector
from marl.environments.masks import INFO, legal_actions
from marl.environments.vector import make_environments
from marl.plugins import foreign_code
from marl.processes.signals import raising


def find_spaces(config: Config) -> Spaces:
    """Make one environment to find out its spaces, and whether it has the mask that the settings name.

    Raises:
        EnvironmentFault: there is no such environment, or none that can be trained on.
        PluginError: it changes torch's defaults.
    """
    with (
        raising(),
        foreign_code(config.environment.id),
        contextlib.closing(make_environments(config.environment, 1)) as environments,
    ):
        spaces = environments.spaces
        if config.environment.mask == INFO:  # only a reset and a step show whether ``info`` has one
            seen, generator = environments.reset([0]), np.random.default_rng(0)
            environments.step(legal_actions(spaces, seen, random_actions(spaces, 1, generator), generator))
        return spaces


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
