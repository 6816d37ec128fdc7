"""gymnasium's robots, which MuJoCo moves."""

import logging
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from marl.config.files import load_config
from marl.environments.make import make_single
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.environments.worlds.mujoco import prepare

ROBOTS = ["HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5", "InvertedPendulum-v5"]


@pytest.mark.parametrize("name", ROBOTS)
def test_each_preset_plays_its_robot(name: str) -> None:
    settings = load_config(name).environment
    environments = make_environments(settings, 2)
    environments.reset([1, 2])
    step = environments.step(np.zeros((2, environments.spaces.actions.size), np.float32))
    environments.demand_numbers("observation", step.observations)
    environments.close()


def test_a_pendulum_that_falls_terminates_and_a_cheetah_is_cut() -> None:
    pendulum = make_environments(EnvironmentSettings("InvertedPendulum-v5"), 1)
    pendulum.reset([0])
    ends = [pendulum.step(np.full((1, 1), 3.0, np.float32)) for _ in range(100)]
    assert any(step.terminated[0] for step in ends)
    assert not any(step.truncated[0] for step in ends)
    cheetah = make_environments(EnvironmentSettings("HalfCheetah-v5", kwargs={"max_episode_steps": 3}), 1)
    cheetah.reset([0])
    ends = [cheetah.step(np.zeros((1, 6), np.float32)) for _ in range(3)]
    assert [(bool(step.terminated[0]), bool(step.truncated[0])) for step in ends] == [(False, False)] * 2 + [
        (False, True)
    ]
    for each in (pendulum, cheetah):
        each.close()


def test_warnings_go_to_the_log_and_to_no_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The cheetah's model has an attribute that MuJoCo calls deprecated: that is nobody's to mend here."""
    monkeypatch.chdir(tmp_path)
    cheetah = make_single(EnvironmentSettings("HalfCheetah-v5"))
    cheetah.reset(seed=0)
    assert caplog.messages == []
    cheetah.unwrapped.data.qvel[:] = 1e12
    with caplog.at_level(logging.WARNING):
        cheetah.step(np.zeros(6, np.float32))
    assert any("MuJoCo: " in text and "simulation is unstable" in text for text in caplog.messages)
    assert (list(tmp_path.iterdir()), capfd.readouterr()) == ([], ("", ""))
    cheetah.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is a screen")
@pytest.mark.parametrize(
    ("name", "screen", "chosen", "used"),
    [
        ("Hopper-v5", "", None, "egl"),
        ("Hopper-v5", "", "osmesa", "osmesa"),
        ("Hopper-v5", ":0", None, None),
        ("CartPole-v1", "", None, None),
    ],
)
def test_robots_are_drawn_without_a_screen(
    name: str, screen: str, chosen: str | None, used: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"DISPLAY": screen} | ({"MUJOCO_GL": chosen} if chosen else {})
    monkeypatch.setattr("marl.environments.worlds.mujoco.os.environ", environment)
    prepare(gymnasium.spec(name))
    assert environment.get("MUJOCO_GL") == used
