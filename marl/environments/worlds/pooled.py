"""envpool's own gymnasium vector, given the one thing that it lacks: a seed at a reset."""

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from marl.errors import EnvironmentFault, MissingExtra

# Ids that envpool 1.2.5 has under the same name: known without installing it.
_ROBOTS = (
    "Ant", "HalfCheetah", "Hopper", "Humanoid", "HumanoidStandup", "InvertedDoublePendulum", "InvertedPendulum",
    "Pusher", "Reacher", "Swimmer", "Walker2d",
)  # fmt: skip
_NAMES = {
    "v0": ("CartPole", "MountainCar", "MountainCarContinuous"),
    "v1": (
        "Acrobot", "Blackjack", "CartPole", "CliffWalking", "CliffWalkingSlippery", "FrozenLake", "FrozenLake8x8",
        "Pendulum",
    ),
    "v3": ("BipedalWalker", "BipedalWalkerHardcore", "CarRacing", "LunarLander", "LunarLanderContinuous"),
    "v4": _ROBOTS,
    "v5": _ROBOTS,
}  # fmt: skip
_WORLDS = ("ALE/", "MiniGrid-", "BabyAI-")  # all of these
_LACKING = ("MiniGrid-MultiRoom-N4-S5-v1",)  # but these
POOLED = frozenset(f"{name}-{version}" for version, names in _NAMES.items() for name in names)


def may_offer(name: str) -> bool:
    """Whether envpool has an id, or a game of an id, as far as is known without it."""
    return name in POOLED or (name.startswith(_WORLDS) and name not in _LACKING)


def offered() -> frozenset[str] | None:
    """The ids that envpool has; None where it is not installed."""
    try:
        import envpool
    except ImportError:
        return None
    return frozenset(envpool.list_all_envs())


def demand_offered(name: str) -> None:
    """Refuse an id that envpool does not have.

    Raises:
        EnvironmentFault: it does not.
        MissingExtra: envpool is not installed.
    """
    has = offered()
    if has is None:
        raise MissingExtra("envpool", "envpool", "environment.backend = 'envpool'")
    if name not in has:
        raise EnvironmentFault(f"envpool does not offer {name}: use environment.backend = 'gymnasium'")


class SeededPool(VectorWrapper[Any, Any, Any]):
    """A pool of ``num_envs`` environments. envpool takes a seed only when a pool is made, so a seed makes another."""

    def __init__(self, name: str, num_envs: int, kwargs: dict[str, Any]) -> None:
        self._name, self._num, self._kwargs = name, num_envs, kwargs
        super().__init__(self._make(seed=0))
        # kept when a seed makes another pool: whoever draws from it may have seeded it
        self.single_action_space = self.env.single_action_space

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Start every episode again; of several seeds the first counts."""
        if seed is not None:
            self.env.close()
            self.env = self._make(seed=int(np.ravel(seed)[0]))
        return self.env.reset(options=options)

    def _make(self, seed: int) -> VectorEnv[Any, Any, Any]:
        import envpool

        # envpool's own threads would fight with the worker for its one core
        pool = envpool.make_gymnasium(self._name, num_envs=self._num, num_threads=1, seed=seed, **self._kwargs)
        if not isinstance(pool, VectorEnv):
            raise EnvironmentFault(
                f"expected envpool 1.2.5 or newer, whose pools are gymnasium vectors, got {envpool.__version__}: "
                "run pip install --upgrade envpool"
            )
        return pool
