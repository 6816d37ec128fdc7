"""Console games by stable-retro: one game in a process, seen as small grey pictures."""

import difflib
from collections import deque
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box

from marl.errors import EnvironmentFault

PREFIX = "retro/"
EPISODE_STEPS = 4_500  # of four frames: five minutes of play
SMALLEST = 84  # pixels that a side has at least
SKIP, STACK = 4, 4

Picture = npt.NDArray[np.uint8]


def register(identifier: str) -> None:
    """Let gymnasium know a game by its id, ``retro/Airstriker-Genesis-v0``.

    Raises:
        EnvironmentFault: stable-retro knows no such game.
    """
    import stable_retro

    name = identifier.removeprefix(PREFIX)
    games = stable_retro.data.list_games()
    if name not in games:
        near = " or ".join(PREFIX + each for each in difflib.get_close_matches(name, games, n=3))
        hint = f"did you mean {near}?" if near else "stable_retro.data.list_games() has those it knows"
        raise EnvironmentFault(f"stable-retro knows no game {name!r}: {hint}")
    if identifier not in gymnasium.registry:
        gymnasium.register(
            identifier, entry_point=f"{__name__}:game", kwargs={"game": name}, max_episode_steps=EPISODE_STEPS
        )


def game(game: str, render_mode: str | None = None, **kwargs: Any) -> gymnasium.Env[Picture, Any]:
    """One game, whose action is one of the combinations of buttons that make sense.

    Raises:
        EnvironmentFault: there is no ROM of it.
    """
    import stable_retro

    kwargs = {"use_restricted_actions": stable_retro.Actions.DISCRETE, **kwargs}
    try:
        made = stable_retro.make(game, render_mode=render_mode or "rgb_array", **kwargs)
    except FileNotFoundError as error:
        raise EnvironmentFault(
            f"{PREFIX}{game}: stable-retro has no ROM of it: run python -m stable_retro.import FOLDER with your ROMs"
        ) from error
    return Pictures(made)


class Pictures(gymnasium.Wrapper[Picture, Any, Picture, Any]):
    """The last four grey pictures, made smaller by a whole factor; an action lasts four frames."""

    stack_size = STACK

    def __init__(self, env: gymnasium.Env[Picture, Any]) -> None:
        super().__init__(env)
        assert isinstance(env.observation_space, Box)
        height, width, _ = env.observation_space.shape
        self._factors = max(1, height // SMALLEST), max(1, width // SMALLEST)
        size = height // self._factors[0], width // self._factors[1]
        self._pictures = deque([np.zeros(size, np.uint8)] * STACK, STACK)
        self.observation_space = Box(0, 255, (STACK, *size), np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Picture, dict[str, Any]]:
        """The first picture, four times."""
        picture, info = self.env.reset(seed=seed, options=options)
        self._pictures.extend([self._small(picture)] * STACK)
        return np.stack(self._pictures), info

    def step(self, action: Any) -> tuple[Picture, float, bool, bool, dict[str, Any]]:
        """Four frames, or fewer where the game ends."""
        reward = 0.0
        for _ in range(SKIP):
            picture, earned, terminated, truncated, info = self.env.step(action)
            reward += float(earned)
            if terminated or truncated:
                break
        self._pictures.append(self._small(picture))
        return np.stack(self._pictures), reward, bool(terminated), bool(truncated), info

    def _small(self, picture: Picture) -> Picture:
        high, wide = self._factors
        rows, columns = self._pictures[0].shape
        grey = picture[: rows * high, : columns * wide].sum(-1, dtype=np.uint16)
        blocks = grey.reshape(rows, high, columns, wide).sum((1, 3), dtype=np.uint32)
        small: Picture = (blocks // (high * wide * 3)).astype(np.uint8)
        return small
