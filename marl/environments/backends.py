"""How fast an environment is here, and which other program steps it faster."""

import contextlib
import dataclasses
import time

import numpy as np

from marl.data.spaces import differences
from marl.environments.actions import random_actions
from marl.environments.make import own_vector
from marl.environments.masks import INFO, legal_actions
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import Environments, make_environments
from marl.environments.worlds.atari import PREFIX, is_atari
from marl.environments.worlds.pooled import may_offer, offered
from marl.errors import EnvironmentFault

OTHERS = " (whose spaces are others)"


def speeds(settings: EnvironmentSettings, *, seed: int, seconds: float) -> list[str]:
    """Steps a second, each of ``seconds``: of one environment, of a worker's, and of those by other programs.

    Raises:
        EnvironmentFault, MissingExtra: the environment raises, or cannot be made.
    """
    found = []
    for count in (1, settings.per_worker):
        with contextlib.closing(make_environments(settings, count)) as environments:
            rate, spaces = _rate(environments, seed, seconds), environments.spaces
        found.append(f"{rate:,.0f} steps/s with {_environments(count)} in one process, random actions")
    if settings.backend != "gymnasium":
        return found
    count = settings.per_worker
    if single := own_vector(settings):
        with contextlib.closing(Environments(single(count), settings.id, settings.ignore, settings.mask)) as others:
            slower, differs = _rate(others, seed, seconds), bool(differences(spaces, others.spaces))
        found.append(
            f"they come as a vector, which is {rate / slower:.1f} times as fast as {count} of them one after another"
            + differs * OTHERS
        )
    name = settings.id.removeprefix(PREFIX) if is_atari(settings.id) else settings.id
    has = offered()
    if has is None and may_offer(settings.id):
        found.append("envpool may step it faster: pip install 'marl-cluster[envpool]', then marl check says how much")
    if has is None or name not in has or settings.mask == INFO:
        return found
    pooled = dataclasses.replace(settings, id=name, backend="envpool", kwargs={})
    try:
        with contextlib.closing(make_environments(pooled, count)) as environments:
            faster, differs = _rate(environments, seed, seconds), bool(differences(spaces, environments.spaces))
    except EnvironmentFault as error:
        return [*found, f"envpool offers {name}, but not with these settings: {error}"]
    less = "" if faster > rate else "no faster here, "
    found.append(
        f"{faster:,.0f} steps/s with {_environments(count)} by envpool, {less}{faster / rate:.1f} times as fast: "
        f"marl train {name} --set environment.backend=envpool" + differs * OTHERS
    )
    return found


def _environments(count: int) -> str:
    return f"{count} environment{'s' * (count > 1)}"


def _rate(environments: Environments, seed: int, seconds: float) -> float:
    generator = np.random.default_rng(seed)
    count, spaces = environments.count, environments.spaces
    seen = environments.reset(list(range(count)))
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        actions = legal_actions(spaces, seen, random_actions(spaces, count, generator), generator)
        seen = environments.step(actions).observations
        steps += count
    return steps / (time.perf_counter() - start)
