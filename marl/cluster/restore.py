"""From a weights file back to a policy that plays."""

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple, cast

from marl.acting.collect import Acts
from marl.acting.evaluate import Played, play
from marl.acting.policy import Policy
from marl.algorithms.build import build_network
from marl.config.names import demand_allowed
from marl.config.settings import Config, from_tree
from marl.data import seeds
from marl.data.normalizer import Moments, from_slot
from marl.data.spaces import Spaces
from marl.environments.vector import make_environments
from marl.errors import ConfigError, WeightsFileError
from marl.plugins import foreign_code
from marl.processes.signals import raising
from marl.processes.threads import one_thread
from marl.training.weights_file import WeightsFile, fill, read


class Restored(NamedTuple):
    """What a weights file says."""

    policy: Policy
    config: Config


def restore(path: str | Path, *, allow: Collection[str] = ()) -> Restored:
    """The policy in a weights file or checkpoint, and the settings that it was trained with.

    Args:
        allow: modules whose code the file may name if this user did not write it on this machine.

    Raises:
        WeightsFileError: the file cannot be read.
        PluginError: it names code that is not allowed.
    """
    file = read(path)
    config, spaces = config_of(file, path, allow), spaces_of(file, path)
    network = build_network(config.algorithm, spaces, config.network)
    fill(network, file, path)
    statistics: Moments | None = None
    if "normalizer" in file.tensors:
        statistics = from_slot(file.tensors["normalizer"].numpy())
    return Restored(Policy(cast(Acts, network), spaces, statistics, file.info), config)


def play_episodes(
    path: str | Path, *, episodes: int, seed: int, greedy: bool, parallel: int = 64, allow: Collection[str] = ()
) -> Played:
    """Episodes of the file's policy in the environment that it was trained in.

    Raises:
        WeightsFileError: the file cannot be read.
        PluginError: it names code that is not allowed.
        EnvironmentFault: the environment cannot be made, or has other spaces than at training.
    """
    return play_restored(
        restore(path, allow=allow), path, episodes=episodes, seed=seed, greedy=greedy, parallel=parallel
    )


def play_restored(
    restored: Restored, path: str | Path, *, episodes: int, seed: int, greedy: bool, parallel: int = 64
) -> Played:
    """The same for what was read from ``path`` before.

    Raises:
        WeightsFileError, EnvironmentFault: as for ``play_episodes``.
    """
    policy, config = restored
    count = max(1, min(episodes, parallel))
    with (
        raising(),
        foreign_code(config.environment.id),
        contextlib.closing(make_environments(config.environment, count)) as environments,
        one_thread(),
    ):
        demand_same_spaces(path, policy.spaces, environments.spaces, config.environment.id)
        sequence = seeds.stream(seed, child=0, worker=0, purpose=seeds.EVALUATION, segment=1)
        return play(
            policy,
            environments,
            episodes=episodes,
            seeds=seeds.integers(sequence, environments.count),
            greedy=greedy,
            seed=seeds.integer(sequence),
        )


def config_of(file: WeightsFile, path: str | Path, allow: Collection[str]) -> Config:
    """The settings that a file was trained with.

    Raises:
        WeightsFileError: they are missing, or of a version that is not understood.
        PluginError: they name code that is not allowed.
    """
    try:
        tree = file.info["config"]
        if not file.own:
            demand_allowed(tree, path, allow)
        return from_tree(tree)
    except (KeyError, TypeError, ConfigError) as error:
        raise WeightsFileError(f"{path} was written by another version of marl: {error}") from error


def spaces_of(file: WeightsFile, path: str | Path) -> Spaces:
    """The spaces that a file was trained with.

    Raises:
        WeightsFileError: they are missing.
    """
    try:
        stored: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in file.info["spaces"].items()
        }
        return Spaces(**stored)
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsFileError(f"{path} does not say which spaces it was trained on: {error}") from error


def demand_same_spaces(path: str | Path, before: Spaces, now: Spaces, name: str) -> None:
    """Refuse to use a file in an environment that is no longer as it was: its numbers would mean something else.

    Args:
        before: of the file at ``path``.
        now: of the environment called ``name``.

    Raises:
        WeightsFileError: they differ.
    """
    before = before._replace(observation_wide=now.observation_wide)  # how they are held, not what they mean
    pairs = zip(before._fields, before, now, strict=True)
    differing = [(field.replace("_", " "), was, has) for field, was, has in pairs if was != has]
    if differing:
        was = ", ".join(f"{field} {value!s:.60}" for field, value, _ in differing)
        has = ", ".join(f"{field} {value!s:.60}" for field, _, value in differing)
        raise WeightsFileError(
            f"{path} was trained on {was}, {name} now has {has}: make it as it was, or train from the start"
        )
