"""Environments of which a process can have one alone: those of a vector live in a process each."""

import contextlib
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

MODULES = ("marl.environments.worlds.sumo:", "marl.environments.worlds.retro:")  # of which this is so


def lives_alone(spec: EnvSpec) -> bool:
    """Whether a process can have one such environment."""
    return str(spec.entry_point).startswith(MODULES)


def apart(spec: EnvSpec, kwargs: dict[str, Any], count: int) -> AsyncVectorEnv:
    """``count`` environments, each in a process that is spawned for it; each is reset at the step after its end."""
    make: Callable[[], Any] = partial(_made, spec, kwargs)
    with _without_main():
        return AsyncVectorEnv([make] * count, context="spawn", autoreset_mode=AutoresetMode.NEXT_STEP)


def _made(spec: EnvSpec, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(spec, disable_env_checker=True, **kwargs)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """A spawned process would run the user's program again, as its main module."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
