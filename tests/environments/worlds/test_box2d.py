"""A car on a race track, seen from above."""

from typing import Any

import numpy as np
import pytest

from marl.cluster.own_parts import try_parts
from marl.config.files import load_config
from marl.environments.vector import make_environments
from marl.errors import ConfigError
from marl.networks.measured.beta import Beta

pytest.importorskip("Box2D")
FIVE = {"environment.kwargs.continuous": False}  # actions


def network_of(settings: dict[str, Any]) -> Any:
    config = load_config("CarRacing-v3", settings)
    environments = make_environments(config.environment, 1)
    environments.close()
    return try_parts(config, environments.spaces)


def test_the_preset_learns_from_pictures_by_a_beta_policy() -> None:
    network = network_of({})
    assert isinstance(network.distribution, Beta)
    assert network.distribution.num_parameters == 6
    environments = make_environments(load_config("CarRacing-v3").environment, 2)
    environments.reset([0, 1])
    seen = environments.step(np.array([[0, 1, 0], [-1, 0, 1]], np.float32)).observations
    assert (np.shape(seen), seen.dtype) == ((2, 96, 96, 3), np.uint8)
    environments.close()


def test_five_actions_need_no_policy_of_numbers() -> None:
    assert network_of({**FIVE, "network.policy": None}).distribution.num_parameters == 5
    with pytest.raises(ConfigError, match=r"leave it out, or --set network\.policy=None where a preset sets it"):
        network_of(FIVE)
