"""``marl evaluate --render``."""

import sys
from collections.abc import Callable

import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from tests.cli.conftest import Answer, Trained
from tests.cli.test_bad_input import refused

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is a display")


@linux
def test_a_machine_without_a_display(
    trained: Trained, command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    answer = command("evaluate", str(trained.folder / "weights.pt"), "--render")
    refused(answer, "--render: expected a display", "--video FOLDER")


def test_one_episode_is_shown(
    trained: Trained, command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(CartPoleEnv.metadata, "render_fps", 0)  # as fast as it goes
    answer = command("evaluate", str(trained.folder / "weights.pt"), "--render")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("return ")
