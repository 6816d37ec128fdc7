"""Console games: how their pictures are made smaller, and a real one where stable-retro is installed."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from marl.data.spaces import Part
from marl.environments.check import examine
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.environments.worlds.retro import Pictures
from marl.errors import EnvironmentFault


class Frames(gymnasium.Env[Any, Any]):
    """Its picture has the number of the frame in the left half; ends at the sixth frame."""

    observation_space = Box(0, 255, (170, 260, 3), np.uint8)
    action_space = Discrete(2)

    def _picture(self) -> np.ndarray:
        picture = np.zeros((170, 260, 3), np.uint8)
        picture[:, :129] = self.frame
        return picture

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.frame = 1
        return self._picture(), {}

    def step(self, action: Any) -> Any:
        self.frame += 1
        return self._picture(), 1.0, self.frame == 7, False, {}


def test_four_grey_pictures_of_four_frames_each() -> None:
    game = Pictures(Frames())
    assert game.observation_space.shape == (4, 85, 86)
    seen, _ = game.reset()
    assert (seen[:, :, :43] == 1).all()
    assert (seen[:, :, 43:] == 0).all()
    seen, reward, ended, cut, _ = game.step(0)
    assert (seen[:, 0, 0].tolist(), reward, ended, cut) == ([1, 1, 1, 5], 4.0, False, False)
    seen, reward, ended, cut, _ = game.step(0)
    assert (seen[:, 0, 0].tolist(), reward, ended, cut) == ([1, 1, 5, 7], 2.0, True, False)


def game() -> Pictures:
    return Pictures(Frames())


def games(num_envs: int) -> AsyncVectorEnv:
    """As games of stable-retro are made, of which a process can have one alone."""
    return AsyncVectorEnv([game] * num_envs, context="spawn", autoreset_mode=AutoresetMode.NEXT_STEP)


@pytest.mark.parametrize("name", ["game", "games"])
def test_its_pictures_are_known_as_a_stack(name: str) -> None:
    environments = make_environments(EnvironmentSettings(f"{__name__}:{name}"), 2)
    environments.close()
    assert environments.spaces.observations == Part((4, 85, 86), "uint8", frames=4)


def test_a_real_game_plays_each_in_a_process() -> None:
    pytest.importorskip("stable_retro")
    report = examine(EnvironmentSettings("retro/Airstriker-Genesis-v0", per_worker=2), seed=0, seconds=0.01)
    assert report.problems == []
    assert any("(4, 112, 106)" in fact for fact in report.facts)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("retro/Airstriker-v0", "knows no game 'Airstriker-v0': did you mean retro/Airstriker-Genesis-v0"),
        ("retro/1942-Nes-v0", "has no ROM of it: run python -m stable_retro.import FOLDER"),
    ],
)
def test_games_that_cannot_be_played(name: str, words: str) -> None:
    pytest.importorskip("stable_retro")
    with pytest.raises(EnvironmentFault, match=words):
        examine(EnvironmentSettings(name), seed=0, seconds=0.01)
