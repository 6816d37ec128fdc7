"""What random play shows of an environment in a moment: how fast it is, how long episodes are, how rewards come."""

import contextlib
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces as gym_spaces

from marl.data.spaces import Spaces
from marl.environments.closing import closed
from marl.environments.describe import describe, is_text
from marl.environments.make import make_alone
from marl.environments.masks import AUTO, legal_action, told_by, why_unused
from marl.environments.numbers import reward_of
from marl.environments.settings import EnvironmentSettings
from marl.environments.single import OfVector
from marl.environments.worlds.limits import limit_of

MOST_STEPS = 20_000
MOST_EPISODES = 100
RARE = 0.01  # share of steps below which what happens in them is rare


class Look(NamedTuple):
    """What was seen."""

    spaces: Spaces
    texts: tuple[str, ...]  # entries of the observation that are texts, which nobody can learn from
    masked: bool  # ``info`` says which actions are allowed, in a form that can be used
    step_seconds: float  # of one step of one environment, resets included; 0: none was played
    limit: int | None  # steps after which the environment's registration cuts episodes
    rare: bool  # hardly any step had another reward than the usual one
    low: float  # the least and the greatest reward
    high: float
    earning: float  # share of steps with a reward above 0
    unused_mask: str = ""  # why a mask in ``info`` is not used, in one line
    longest: int = 0  # steps of the longest episode played; of a user's own environment alone, if it has no limit
    cut: bool = False  # whether that one was cut, so that none is longer


class Played(NamedTuple):
    """What came of random actions."""

    rewards: list[float]
    seconds: float
    faults: list[str | None]  # of masks in ``info``, see ``told_by``
    longest: int  # steps of the longest episode, of one that has not ended as well
    cut: bool  # whether that one was cut


def look(
    settings: EnvironmentSettings, *, seconds: float, seed: int = 0, limit: AbstractContextManager[None] | None = None
) -> Look:
    """Play random actions for ``seconds``, or less where enough has been seen.

    An error of the environment ends the look and is not reported here: training reports it.

    Args:
        limit: what raises TimeoutError in a step that does not come back; None: nothing does.

    Raises:
        EnvironmentFault, MissingExtra: it cannot be made, or not be trained on.
    """
    environment = make_alone(settings)
    try:
        texts = tuple(sorted(set(_texts(environment.observation_space)) - set(settings.ignore)))
        spaces = describe(
            environment.observation_space, environment.action_space, (*settings.ignore, *texts), settings.mask
        )
        played = _play(environment, spaces, seconds, seed, limit or nullcontext(), settings.mask == AUTO)
        unused = why_unused(played.faults)
        known = limit_of(environment.vector_spec if isinstance(environment, OfVector) else environment.spec)
    finally:
        closed([environment], settings.id)
    values, counts = np.unique(played.rewards or [0.0], return_counts=True)
    unlimited = known is None and ":" in settings.id
    return Look(
        spaces,
        texts,
        masked="" in played.faults and not unused,
        step_seconds=played.seconds / len(played.rewards) if played.rewards else 0.0,
        limit=known,
        rare=bool(played.rewards) and bool(1.0 - counts.max() / counts.sum() < RARE),
        low=float(values[0]),
        high=float(values[-1]),
        earning=float(counts[values > 0].sum() / counts.sum()),
        unused_mask=unused,
        longest=played.longest if unlimited else 0,
        cut=played.cut if unlimited else False,
    )


def _play(
    environment: gymnasium.Env[Any, Any],
    spaces: Spaces,
    seconds: float,
    seed: int,
    limit: AbstractContextManager[None],
    looks: bool,
) -> Played:
    """Random actions; ``looks``: for masks in ``info``, which then say what may be played."""
    rewards: list[float] = []
    faults: list[str | None] = []

    def told(info: Any) -> Any:
        if not looks:
            return None
        mask, fault = told_by(info, environment.action_space)
        if fault not in faults:
            faults.append(fault)
        return mask

    steps, longest = 0, (0, False)  # of two episodes of as many steps, the one that was cut counts
    episodes, start = 0, time.perf_counter()
    with contextlib.suppress(Exception, SystemExit), limit:  # whatever a user's environment does
        observation, info = environment.reset(seed=seed)
        mask = told(info)
        environment.action_space.seed(seed)
        while len(rewards) < MOST_STEPS and episodes < MOST_EPISODES and time.perf_counter() - start < seconds:
            action = legal_action(environment.action_space, spaces, observation, mask)
            answer: tuple[Any, ...] = environment.step(action)
            observation = answer[0]
            mask = told(answer[4])
            rewards.append(float(reward_of(answer[1])[0]))
            steps += 1
            longest = max(longest, (steps, bool(answer[3] and not answer[2])))
            if answer[2] or answer[3]:
                steps, episodes = 0, episodes + 1
                observation, info = environment.reset()
                mask = told(info)
    return Played(rewards, time.perf_counter() - start, faults, *longest)


def _texts(space: gym_spaces.Space[Any], path: str = "") -> list[str]:
    """The entries of a Dict that are texts, as ``environment.ignore`` names them; spaces of a user's own as well."""
    if not isinstance(space, gym_spaces.Dict):
        return [path] if path and is_text(space) else []
    pairs = [(name, each) for name, each in space.spaces.items() if isinstance(name, str)]
    return [text for name, each in pairs for text in _texts(each, f"{path}/{name}" if path else name)]
