"""Try an environment alone and say what would trouble training."""

import dataclasses
import warnings
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt

from marl.data.layout import Values, dtype_name, flattened, joined, leaves, mapped, named
from marl.data.pictures import flat_note
from marl.data.preprocess import Preprocess
from marl.data.spaces import MASK, Parts, Spaces, as_held, values_of
from marl.environments.actions import hidden_ranges, random_actions
from marl.environments.backends import speeds
from marl.environments.closing import closed
from marl.environments.describe import describe, space_words
from marl.environments.look import look
from marl.environments.make import make_alone
from marl.environments.masks import INFO, legal_action, legal_actions
from marl.environments.numbers import blurred, fault_of, part_fault, reward_of
from marl.environments.outside import Outside
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.environments.worlds.atari import old_id_note
from marl.errors import EnvironmentFault
from marl.words import MOST, place

TRIAL_STEPS = 1_000
LOOK_S = 0.3  # of a look for texts and masks
LOOKS = 50  # steps, whether observations are too fine for float32


class Report(NamedTuple):
    """What was found."""

    facts: list[str]
    problems: list[str]
    warnings: list[str]  # it can be trained on, and may not be what was meant


def examine(settings: EnvironmentSettings, *, seed: int, seconds: float, looks: bool = False) -> Report:
    """Facts and problems of one environment.

    Args:
        looks: whether a run looks at it before it trains, and leaves out texts or takes a mask in ``info``.

    Raises:
        EnvironmentFault, MissingExtra: it cannot even be made, or does not say what it shows and takes.
    """
    report = Report([], [], [])
    if looks:
        settings = _as_a_look_sets(settings, report)
    environment = make_alone(settings)
    try:
        observation, action = environment.observation_space, environment.action_space
        report.facts.extend([f"observations {space_words(observation, MOST)}", f"actions {space_words(action, MOST)}"])
        if text := old_id_note(settings):
            report.warnings.append(text)
        spaces = describe(observation, action, settings.ignore, settings.mask)
        if text := flat_note(spaces.observations):
            report.warnings.append(text)
        outside = Outside(observation, spaces.observations, settings.id)
        report.problems.extend(_play(environment, spaces, seed, report.facts, outside))
        if outside.count:
            report.warnings.append(f"{outside.first} ({outside.count:,} of the observations of these steps)")
        # gymnasium's checker knows no masks, and refuses observations outside their space
        elif not report.problems and spaces.mask is None:
            report.problems.extend(_standard(environment))
    except EnvironmentFault as error:
        report.problems.append(str(error))
    finally:
        complaint = closed([environment], settings.id)  # before another is made: there may be room for one alone
    if complaint:
        report.problems.append(complaint)
    if not report.problems:
        _try_others(settings, spaces, report, seed=seed, seconds=seconds)
    return report


def _as_a_look_sets(settings: EnvironmentSettings, report: Report) -> EnvironmentSettings:
    """With the settings of spaces that a run chooses by a look, which ``report`` is told."""
    try:
        seen = look(settings, seconds=LOOK_S)
    except EnvironmentFault:
        return settings  # of which the rest of the check will say more
    if seen.texts:
        report.warnings.append(f"{', '.join(seen.texts)}: texts are nothing to learn from, a run leaves them out")
    if seen.masked:
        report.facts.append(f"info has an {MASK}: a run takes allowed actions only, and so does this check")
    if seen.unused_mask:
        report.warnings.append(seen.unused_mask)
    mask = INFO if seen.masked else settings.mask
    return dataclasses.replace(settings, ignore=(*settings.ignore, *seen.texts), mask=mask)


def _try_others(settings: EnvironmentSettings, spaces: Spaces, report: Report, *, seed: int, seconds: float) -> None:
    """What takes environments of its own."""
    report.warnings.extend(hidden_ranges(spaces))
    try:
        if text := blur_of(settings, spaces):
            report.warnings.append(text)
        report.problems.extend(_repeats(settings, spaces, seed))
        if not report.problems:
            report.facts.extend(speeds(settings, seed=seed, seconds=seconds))
    except EnvironmentFault as error:
        report.problems.append(str(error))


def blur_of(settings: EnvironmentSettings, spaces: Spaces) -> str | None:
    """What observations hold and float32 loses, where nothing normalises them first; None if there is no such thing, or
    the environment raises: training will say so.

    Raises:
        EnvironmentFault, MissingExtra: the environment cannot be made.
    """
    if settings.normalize_observations or not spaces.is_wide:
        return None
    environments = make_environments(settings, 1)
    try:
        seen = [mapped(np.array, environments.reset([0]))]
        generator = np.random.default_rng(0)
        for _ in range(LOOKS):
            actions = legal_actions(spaces, seen[-1], random_actions(spaces, 1, generator), generator)
            seen.append(mapped(np.array, environments.step(actions).observations))
    except EnvironmentFault:
        return None
    finally:
        environments.close()
    return blurred(Preprocess(spaces).numbers(flattened(spaces.raw, joined(seen))))


def _play(
    environment: gymnasium.Env[Any, Any], spaces: Spaces, seed: int, facts: list[str], outside: Outside
) -> list[str]:
    """Random actions; the first thing that is wrong. Observations outside their space are only counted."""
    where = "reset"
    ends = {"terminated": 0, "truncated": 0}
    rewards = []
    try:
        observation, _ = environment.reset(seed=seed)
        environment.action_space.seed(seed)
        for step in range(TRIAL_STEPS):
            if wrong := _wrong_observation(observation, spaces.observations, where):
                return [wrong]
            outside.look(_rows(spaces, observation))
            where = f"step {step + 1}"
            answer: tuple[Any, ...] = environment.step(legal_action(environment.action_space, spaces, observation))
            if len(answer) != 5:
                return [f"step must give (observation, reward, terminated, truncated, info), got {len(answer)} values"]
            observation, terminated, truncated = answer[0], answer[2], answer[3]
            try:
                reward = reward_of(answer[1])
            except (TypeError, ValueError, OverflowError) as error:
                return [f"expected one number as reward, got {answer[1]!r:.40} in {where}: {error}"]
            if fault := fault_of("reward", reward):
                return [f"{fault} in {where}"]
            rewards.append(float(reward[0]))
            if terminated or truncated:
                if wrong := _wrong_observation(observation, spaces.observations, where):
                    return [wrong]  # a cut episode bootstraps from it
                outside.look(_rows(spaces, observation))
                ends["terminated"] += bool(terminated)
                ends["truncated"] += bool(truncated)
                observation, _ = environment.reset()
    except (Exception, SystemExit) as error:
        return [_raised(error, where)]
    facts.append(
        f"{TRIAL_STEPS:,} random steps: {ends['terminated']} episodes terminated, {ends['truncated']} were cut, "
        f"rewards {min(rewards):.3g} to {max(rewards):.3g}"
    )
    if not any(ends.values()):
        facts.append("no episode ended: set max_episode_steps where the environment is registered if it never does")
    return []


def _raised(error: BaseException, where: str) -> str:
    return " ".join(f"{type(error).__name__} in {where}: {error}".split())


def _wrong_observation(observation: Any, parts: Parts, where: str) -> str | None:
    held, declared = as_held(parts, observation), mapped(lambda part: part.shape, parts)
    try:
        shapes = mapped(lambda unused_part, value: np.shape(value), parts, held)
    except ValueError as error:
        return f"an observation is of another structure than its space in {where}: {error}"
    if shapes != declared:
        return f"an observation has shape {shapes} in {where}, the space declares {declared}"
    for (path, value), part in zip(named(parts, held), leaves(parts), strict=True):
        if fault := part_fault(place("observation", path), part, np.asarray(value)):
            return f"{fault} in {where}"
    return None


def _rows(spaces: Spaces, observation: Any) -> Values:
    """One observation [1, D], as training holds it."""
    held = as_held(spaces.observations, observation)
    one = mapped(lambda leaf, value: np.asarray(value, dtype_name(leaf.dtype))[None], spaces.raw, held)
    return flattened(spaces.raw, one)


def _numbers(parts: Parts, observation: Any) -> npt.NDArray[Any]:
    """All of them, in one row."""
    pairs = values_of(parts, as_held(parts, observation))
    return np.concatenate([np.asarray(value, float).ravel() for _, value in pairs])


class _WithoutInfo(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Training does not read ``info``, so it may hold anything."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return self.env.reset(seed=seed, options=options)[0], {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        return *self.env.step(action)[:4], {}


def _standard(environment: gymnasium.Env[Any, Any]) -> list[str]:
    """gymnasium's own checker."""
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        try:
            check_env(_WithoutInfo(environment.unwrapped), skip_render_check=True, skip_close_check=True)
        except (Exception, SystemExit) as error:
            return [f"gymnasium's checker: {error}"]
    return []


def _repeats(settings: EnvironmentSettings, spaces: Spaces, seed: int) -> list[str]:
    """Whether the same seed gives the same episode."""
    traces = []
    for _ in range(2):
        environment = make_alone(settings)
        try:
            traces.append(_trace(environment, spaces, seed))
        except (Exception, SystemExit) as error:
            return [_raised(error, f"an episode of another environment, seed {seed}")]
        finally:
            closed([environment], settings.id)  # how it closes has been looked at
    if traces[0].shape != traces[1].shape or not np.array_equal(traces[0], traces[1]):
        return ["the same seed and actions gave two different episodes: use self.np_random for all randomness"]
    return []


def _trace(environment: gymnasium.Env[Any, Any], spaces: Spaces, seed: int) -> npt.NDArray[Any]:
    environment.action_space.seed(seed)
    observation, _ = environment.reset(seed=seed)
    parts = spaces.observations
    trace = [_numbers(parts, observation)]
    for _ in range(50):
        action = legal_action(environment.action_space, spaces, observation)
        observation, reward, terminated, truncated, _ = environment.step(action)
        trace.append(np.append(_numbers(parts, observation), float(reward)))
        if terminated or truncated:
            break
    return np.concatenate(trace)
