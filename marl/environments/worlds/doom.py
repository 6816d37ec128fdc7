"""ViZDoom leaves nothing in the current folder.

By itself, its engine writes a file _vizdoom.ini there, and makes a folder _vizdoom for what the user saves in the game.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

import gymnasium

MODULE = "vizdoom."
FOLDER = Path("_vizdoom")


class Tidy(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The same environment, whose engine has the default settings and keeps none."""

    def __init__(self, environment: gymnasium.Env[Any, Any]) -> None:
        super().__init__(environment)
        game: Any = environment.unwrapped.game  # type: ignore[attr-defined]
        if not game.get_doom_config_path():  # the user may name a file
            game.set_doom_config_path(os.devnull)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; the first one starts the engine."""
        answer = super().reset(seed=seed, options=options)
        with contextlib.suppress(OSError):  # there is none, or the user has something in it
            FOLDER.rmdir()
        return answer


def tidy(environment: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """An environment of ViZDoom as ``Tidy``; any other as it is."""
    return Tidy(environment) if type(environment.unwrapped).__module__.startswith(MODULE) else environment
