"""One environment after another, in this process."""

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
from gymnasium import Env, Space
from gymnasium.spaces import Box, Dict, Tuple
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from marl.data.layout import Values, mapped
from marl.environments.closing import close_all


class SerialVector(SyncVectorEnv[Any, Any]):
    """gymnasium's SyncVectorEnv, which resets an ended environment at its next step, without the ``info`` dictionaries.

    Nobody here reads them; to merge them costs time, and fails where the shape of a value changes from step to step.
    """

    def __init__(self, make: Callable[[], Env[Any, Any]], num_envs: int, name: str = "the environment") -> None:
        self._name = name
        made: list[Env[Any, Any]] = []

        def make_and_keep() -> Env[Any, Any]:
            made.append(make())
            return made[-1]

        try:
            super().__init__([make_and_keep] * num_envs, copy=False, autoreset_mode=AutoresetMode.NEXT_STEP)
        except BaseException:  # one of them does not start, or a signal says to stop
            close_all(made, name)
            raise
        self._is_box = isinstance(self.single_observation_space, Box)

    def _add_info(self, vector_infos: dict[str, Any], unused_info: dict[str, Any], unused_index: int) -> dict[str, Any]:
        return vector_infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of all environments; the observations are overwritten by the next."""
        observations: list[Any] = self._env_obs
        rewards = self._rewards
        terminated, truncated, ended = self._terminations, self._truncations, self._autoreset_envs.tolist()
        for index, (environment, action) in enumerate(zip(self.envs, self._each(actions), strict=True)):
            if ended[index]:
                observations[index], _ = environment.reset()
                rewards[index], terminated[index], truncated[index] = 0.0, False, False
            else:
                (
                    observations[index],
                    rewards[index],
                    terminated[index],
                    truncated[index],
                    _,
                ) = environment.step(action)
        if self._is_box:
            np.stack(observations, out=self._observations)
        else:
            self._observations = concatenate(self.single_observation_space, observations, self._observations)
        np.logical_or(terminated, truncated, out=self._autoreset_envs)
        return self._observations, rewards.copy(), terminated.copy(), truncated.copy(), {}

    def _each(self, actions: Any) -> Any:
        return actions if isinstance(actions, np.ndarray) else iterate(self.action_space, actions)

    def close_extras(self, **unused: Any) -> None:
        """Close every environment, also after one that raises."""
        close_all(self.__dict__.get("envs", ()), self._name)


def misfit(vector: VectorEnv[Any, Any, Any], error: BaseException) -> Any | None:
    """The form of an observation that cannot lie among the others as its space declares, in words; None if all can.

    Args:
        error: that the vector has raised.
    """
    if isinstance(vector, AsyncVectorEnv):
        return _misfit_in_process(vector.single_observation_space, error)
    if not isinstance(vector, SyncVectorEnv):
        return None
    space, shown = vector.single_observation_space, cast(list[Any], vector._env_obs)
    for observation in shown:
        if observation is not None:  # before the first reset
            try:
                place: Any = create_empty_array(space, n=1)
                concatenate(space, (observation,), place)
            except Exception:
                return _forms_of(observation)
    return None


def _forms_of(observation: Values) -> Any:
    """Shape and type of each of its arrays, in words."""
    try:
        return mapped(lambda each: f"{list(np.shape(each))} of {np.asarray(each).dtype}", observation)
    except ValueError:  # lists of different lengths
        return type(observation).__name__


def _misfit_in_process(space: Space[Any], error: BaseException) -> str | None:
    """Likewise where a process could not copy it to where the space says it lies; only numpy's text came from there."""
    found = re.search(r"could not broadcast input array from shape \(([\d, ]*)\) into shape \(([\d, ]*)\)", str(error))
    if found is None:
        return None
    came, place = (tuple(map(int, re.findall(r"\d+", each))) for each in found.groups())
    return f"shape {list(came)}" if place in _shapes(space) else None


def _shapes(space: Space[Any]) -> Iterator[tuple[int, ...] | None]:
    """Of each leaf."""
    if isinstance(space, Dict | Tuple):
        for each in space.spaces.values() if isinstance(space, Dict) else space.spaces:
            yield from _shapes(each)
    else:
        yield space.shape
