"""Whether an environment limits the steps of its episodes itself."""

from typing import Any

from gymnasium.vector import VectorEnv

from marl.environments.serial import SerialVector
from marl.environments.settings import EnvironmentSettings
from marl.environments.worlds.atari import is_atari


def is_limited(settings: EnvironmentSettings, vector: VectorEnv[Any, Any, Any]) -> bool:
    """Whether no episode goes on for ever: gymnasium knows a limit, or the emulator has one."""
    specs = [each.spec for each in vector.envs] if isinstance(vector, SerialVector) else [vector.spec]
    return is_atari(settings.id) or all(limit_of(spec) is not None for spec in specs)


def limit_of(spec: Any) -> Any:
    """The steps after which episodes are cut, as a description of an environment says; None where it does not."""
    return getattr(getattr(spec, "config", spec), "max_episode_steps", None)  # envpool's has it among its settings
