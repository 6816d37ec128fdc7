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
    space = vector.single_observation_space
    came, lies = shapes_in_process(vector, error)
    if lies is not None and lies in _shapes(space):
        return f"shape {list(came)}"
    for observation in shown_alone(vector):
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


def shown_alone(vector: VectorEnv[Any, Any, Any]) -> list[Any]:
    """What each environment has shown last, before it lies among the others; None before its first reset."""
    return cast(list[Any], vector._env_obs) if isinstance(vector, SyncVectorEnv) else []


def shapes_in_process(
    vector: VectorEnv[Any, Any, Any], error: BaseException
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The shapes of what a process could not copy, and of where it should have lain; None where that is not so.

    Only numpy's text came from there.
    """
    found = re.search(r"could not broadcast input array from shape \(([\d, ]*)\) into shape \(([\d, ]*)\)", str(error))
    if found is None or not isinstance(vector, AsyncVectorEnv):
        return (), None
    came, lies = (tuple(map(int, re.findall(r"\d+", each))) for each in found.groups())
    return came, lies


def _shapes(space: Space[Any]) -> Iterator[tuple[int, ...]]:
    """Of each leaf that has one."""
    if isinstance(space, Dict | Tuple):
        for each in space.spaces.values() if isinstance(space, Dict) else space.spaces:
            yield from _shapes(each)
    elif space.shape is not None:
        yield space.shape
