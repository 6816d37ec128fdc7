"""A game that is watched is the one that was trained on."""

import contextlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marl.cluster.runs import render
from marl.cluster.runs.render import render_episode
from marl.data.spaces import Spaces
from marl.environments.check import examine
from marl.environments.make import make_single, make_vector
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.environments.worlds.screen import SCREEN
from marl.errors import EnvironmentFault
from tests.cluster.runs.test_restore import write

STEPS = 12


def pong(**kwargs: Any) -> EnvironmentSettings:
    return EnvironmentSettings("ALE/Pong-v5", kwargs=kwargs)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"repeat_action_probability": 0.0, "noop_max": 0, "frameskip": 2},
        {"img_height": 44, "img_width": 60},
        {"stack_num": 2},
        {"grayscale": False},
        {"full_action_space": True},
        {"continuous": True},
    ],
)
def test_a_game_alone_has_the_spaces_of_training(kwargs: dict[str, Any]) -> None:
    with contextlib.closing(make_vector(pong(**kwargs), 1)) as vector:
        for mode in (None, "rgb_array"):
            with contextlib.closing(make_single(pong(**kwargs), mode)) as game:
                assert game.observation_space == vector.single_observation_space
                assert game.action_space == vector.single_action_space


def test_the_picture_is_of_the_same_moment() -> None:
    """Where observations are the screen itself, nothing tells them apart: with sticky actions and random starts."""
    with contextlib.closing(make_single(pong(**SCREEN), "rgb_array")) as game:
        game.action_space.seed(0)
        for seed in (3, None, None):  # None: chance chooses the seed
            observation, _ = game.reset(seed=seed)
            for _ in range(STEPS):
                assert np.array_equal(game.render(), observation[0])
                observation, *_ = game.step(game.action_space.sample())


def test_the_game_is_the_one_of_training() -> None:
    with (
        contextlib.closing(make_environments(pong(), 1)) as environments,
        contextlib.closing(make_single(pong(), "rgb_array")) as game,
    ):
        assert np.array_equal(game.reset(seed=5)[0], environments.reset([5])[0])
        for action in np.random.default_rng(0).integers(0, 6, STEPS):
            assert np.array_equal(game.step(action)[0], environments.step(np.array([action])).observations[0])


def test_an_argument_of_nothing_is_refused() -> None:
    with pytest.raises(EnvironmentFault, match=r"ALE/Pong-v5 does not accept \{'size': 3\}: .*'size'"):
        make_single(pong(size=3), "rgb_array")


def test_a_check_takes_the_arguments_of_training() -> None:
    report = examine(EnvironmentSettings("ALE/Pong-v5", per_worker=2, kwargs={"img_height": 44}), seed=0, seconds=0.01)
    assert report.problems == []
    assert any(fact.endswith("as fast as 2 of them one after another") for fact in report.facts)


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of one that has learned nothing; episodes that are watched are short."""
    monkeypatch.setattr(render, "MAX_EPISODE_STEPS", STEPS)
    with contextlib.closing(make_environments(pong(stack_num=2), 1)) as environments:
        spaces: Spaces = environments.spaces
    settings = {"environment": {"id": "ALE/Pong-v5", "kwargs": {"stack_num": 2}}}
    return str(write(tmp_path / "pong.pt", settings, spaces=spaces))


class Clip:
    """What moviepy makes of pictures."""

    made: list[tuple[int, tuple[int, ...], float, str]]

    def __init__(self, pictures: list[Any], fps: float) -> None:
        self._pictures, self._fps = pictures, fps

    def write_videofile(self, path: str, logger: Any) -> None:
        Clip.made.append((len(self._pictures), self._pictures[0].shape, self._fps, Path(path).name))


def test_a_policy_of_a_game_is_recorded(policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "moviepy.video.io.ImageSequenceClip"
    for each in ("moviepy", "moviepy.video", "moviepy.video.io", name):
        monkeypatch.setitem(sys.modules, each, types.ModuleType(each))
    monkeypatch.setattr(sys.modules[name], "ImageSequenceClip", Clip, raising=False)
    monkeypatch.setattr(Clip, "made", [], raising=False)
    render_episode(policy, seed=0, greedy=None, video=str(tmp_path / "film"))
    assert Clip.made == [(STEPS + 1, (210, 160, 3), 15.0, "rl-video-episode-0.mp4")]


def test_a_policy_of_a_game_is_shown_in_a_window(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert isinstance(render_episode(policy, seed=0, greedy=None, video=None), float)
