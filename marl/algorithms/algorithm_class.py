"""Which class an algorithm's name stands for. Only the one that is used is imported."""

import dataclasses
from importlib import import_module

from marl.algorithms.base import Algorithm
from marl.errors import ConfigError, PluginError
from marl.plugins import load_object

ALGORITHMS = {
    "a3c": "marl.algorithms.a3c:A3C",
    "ppo": "marl.algorithms.ppo:PPO",
    "impala": "marl.algorithms.impala:IMPALA",
    "apex_dqn": "marl.algorithms.apex_dqn:ApexDQN",
    "sac": "marl.algorithms.sac:SAC",
}
DEFAULT = "a3c"


def algorithm_class(name: str) -> type[Algorithm]:
    """The class of one of ``ALGORITHMS``, or of a user's own ``package.module:Class``.

    Raises:
        ConfigError: there is none of that name, or it is no algorithm.
        PluginError: it lacks a method.
    """
    if name in ALGORITHMS:
        module, _, attribute = ALGORITHMS[name].partition(":")
        found: type[Algorithm] = getattr(import_module(module), attribute)
        return found
    if ":" not in name:
        raise ConfigError(
            f"algorithm.name: expected one of {', '.join(ALGORITHMS)}, or your own package.module:Class, got {name!r}"
        )
    own = load_object(name)
    if not (isinstance(own, type) and issubclass(own, Algorithm) and dataclasses.is_dataclass(own)):
        raise ConfigError(
            f"algorithm.name: expected a frozen dataclass that derives from marl.algorithms.base.Algorithm, "
            f"{name} is {own!r:.80}"
        )
    if missing := sorted(own.__abstractmethods__):
        raise PluginError(f"{name} lacks {' and '.join(missing)}: see marl.algorithms.base.Algorithm")
    return own
