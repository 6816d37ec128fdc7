"""ViZDoom's Dict observations, where it is installed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from marl.config.files import load_config
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from tests.fakes import CountingEnv


def test_the_preset_shows_small_grey_pictures_and_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vizdoom")
    monkeypatch.chdir(tmp_path)
    environments = make_environments(load_config("VizdoomBasic-v1").environment, 2)
    seen = environments.reset([0, 1])
    assert {name: np.shape(each) for name, each in seen.items()} == {
        "gamevariables": (2, 1),
        "screen": (2, 120, 160, 1),
    }
    steps = [environments.step(np.array([3, 3])) for _ in range(90)]
    assert any(each.truncated.all() for each in steps)
    environments.close()
    assert list(tmp_path.iterdir()) == []


class Game:
    """What ViZDoom's engine does with files."""

    def __init__(self, config: str) -> None:
        self.get_doom_config_path = lambda: self.config
        self.config = config

    def set_doom_config_path(self, path: str) -> None:
        self.config = path

    def init(self) -> None:
        Path("_vizdoom").mkdir(exist_ok=True)
        Path(self.config or "_vizdoom.ini").write_text("")


class Doom(CountingEnv):
    __module__ = "vizdoom.gymnasium_wrapper"

    def __init__(self, config: str = "") -> None:
        super().__init__()
        self.game = Game(config)

    def reset(self, **words: Any) -> Any:
        self.game.init()
        return super().reset(**words)


@pytest.fixture
def doom() -> Iterator[str]:
    gymnasium.register("TestDoom-v0", Doom)
    yield "TestDoom-v0"
    del gymnasium.registry["TestDoom-v0"]


@pytest.mark.parametrize(("config", "left"), [("", []), ("my.ini", ["my.ini"])])
def test_the_engine_leaves_nothing_in_the_current_folder(
    config: str, left: list[str], doom: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(make_environments(EnvironmentSettings(id=doom, kwargs={"config": config}), 2)) as made:
        made.reset([0, 1])
        assert [each.name for each in tmp_path.iterdir()] == left
        Path("_vizdoom").mkdir()
        Path("_vizdoom/save").touch()
        made.reset([0, 1])
    assert Path("_vizdoom/save").exists()
