"""MiniGrid: a Dict of a picture, a direction and a text, which is left out."""

import numpy as np
import pytest

from marl.config.files import load_config
from marl.config.presets import preset_names
from marl.environments.look import look
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments

NAME = "MiniGrid-Empty-5x5-v0"


def test_the_text_is_found_and_can_be_left_out() -> None:
    assert look(EnvironmentSettings(NAME), seconds=0.05).texts == ("mission",)
    environments = make_environments(EnvironmentSettings(NAME, ignore=("mission",)), 2)
    seen = environments.reset([1, 2])
    assert {name: np.shape(each) for name, each in seen.items()} == {"direction": (2,), "image": (2, 7, 7, 3)}
    step = environments.step(np.array([0, 2]))  # turn left; go forward
    assert step.observations["direction"].tolist() == [3, 0]
    environments.close()


@pytest.mark.parametrize("algorithm", ["a3c", "ppo", "impala", "apex_dqn"])
@pytest.mark.parametrize("name", [name for name in preset_names() if name.startswith("MiniGrid-")])
def test_presets_find_spaces_for_every_algorithm_that_can_act(name: str, algorithm: str) -> None:
    config = load_config(name, {"algorithm.name": algorithm})
    environments = make_environments(config.environment, 1)
    environments.close()
    assert set(environments.spaces.observations) == {"direction", "image"}
    config.algorithm.build_network(environments.spaces, config.network, seed=0)
