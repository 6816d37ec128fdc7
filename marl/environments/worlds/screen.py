"""One game of ale-py as training sees it, with the picture that a person watches."""

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import HumanRendering

from marl.environments.single import OfVector
from marl.environments.worlds.atari import atari_kwargs

SCREEN = {"img_height": 210, "img_width": 160, "grayscale": False, "stack_num": 1}  # arguments of ale-py's vector
FRAMES_PER_S = 60.0  # of the console
MOST_SEEDS = 1 << 31


def game(spec: EnvSpec, render_mode: str | None = None, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """One game by ale-py's vector, as a single environment.

    Args:
        render_mode: "rgb_array", "human", or None for no picture.
        kwargs: of the vector.
    """
    kwargs = atari_kwargs(kwargs, life_ends=False)
    make = partial(gymnasium.make_vec, spec, 1, "vector_entry_point")
    played = make(**kwargs)
    if render_mode is None:
        return OfVector(played)
    frames_per_s = FRAMES_PER_S / kwargs.get("frameskip", 4)
    shown = make(**{**kwargs, **SCREEN})
    if render_mode == "human":
        return HumanRendering(OnScreen(played, shown, frames_per_s, enlarged=3))
    return OnScreen(played, shown, frames_per_s)


class OnScreen(OfVector):
    """Plays each game twice: a vector shows nothing but its observations, so a second one shows the screen.

    Both begin from the same seed and take the same actions, so chance does the same in both.
    """

    def __init__(
        self,
        played: VectorEnv[Any, Any, Any],
        shown: VectorEnv[Any, Any, Any],
        frames_per_s: float,
        enlarged: int = 1,
    ) -> None:
        """``enlarged``: by which factor the sides of a picture grow."""
        super().__init__(played)
        self.render_mode = "rgb_array"
        self.metadata = {**self.metadata, "render_modes": ["rgb_array"], "render_fps": frames_per_s}
        self._screen, self._enlarged = OfVector(shown), enlarged

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start both games from this seed, or from a random one."""
        if seed is None:
            seed = int(self.np_random.integers(MOST_SEEDS))
        self._pictures, _ = self._screen.reset(seed=seed, options=options)
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of both games."""
        self._pictures = self._screen.step(action)[0]
        return super().step(action)

    def render(self) -> npt.NDArray[np.uint8]:
        """The screen in colour [height, width, 3]."""
        picture: npt.NDArray[np.uint8] = self._pictures[0]
        return picture.repeat(self._enlarged, 0).repeat(self._enlarged, 1)

    def close(self) -> None:
        """Close both vectors."""
        self._screen.close()
        super().close()
