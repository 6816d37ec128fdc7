"""ViZDoom's Dict observations, where it is installed."""

from pathlib import Path

import numpy as np
import pytest

from marl.config.files import load_config
from marl.environments.vector import make_environments


def test_the_preset_shows_small_grey_pictures_and_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vizdoom")
    monkeypatch.chdir(tmp_path)  # it writes there
    environments = make_environments(load_config("VizdoomBasic-v1").environment, 2)
    seen = environments.reset([0, 1])
    assert {name: np.shape(each) for name, each in seen.items()} == {
        "gamevariables": (2, 1),
        "screen": (2, 120, 160, 1),
    }
    steps = [environments.step(np.array([3, 3])) for _ in range(90)]
    assert any(each.truncated.all() for each in steps)
    environments.close()
