"""Reads a weights file: as a policy that plays, or as weights to start training from."""

import contextlib
import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

from marl import seeds
from marl.acting.evaluate import MAX_EPISODE_STEPS, Played, play
from marl.acting.policy import Policy
from marl.algorithms.build import build_network
from marl.cluster.find_spaces import find_entries, find_spaces
from marl.config.names import demand_allowed
from marl.config.rules import validate
from marl.config.settings import Config, from_tree
from marl.data.layout import leaves
from marl.data.normalizer import RunningStatistics
from marl.data.spaces import Spaces, differences
from marl.data.stored import is_count, read_spaces, read_statistics
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.errors import ConfigError, WeightsFileError
from marl.importing.sb3_file import is_sb3, read_policy
from marl.importing.sb3_network import ACTIVATIONS, build, kind_of
from marl.networks.contract import Acts
from marl.networks.torso import body_size
from marl.plugins import foreign_code
from marl.processes.signals import raising
from marl.processes.threads import one_thread
from marl.training.saved.weights_file import Contents, WeightsFile, demand_shapes, fill, read

# Limit of what a checkpoint holds besides its network (optimizer state, statistics): REST_FACTOR times the network's
# bytes, plus REST_BYTES.
REST_FACTOR, REST_BYTES = 32, 16_000_000
MOST_FIELDS = 6  # of spaces that differ, in one line


class Restored(NamedTuple):
    """What a file says."""

    policy: Policy
    environment: EnvironmentSettings  # to play in
    algorithm: str  # that it was trained with
    greedy: bool = True  # whether the evaluation that chose it took the most likely actions


def restore(
    path: str | Path,
    *,
    environment: str | None = None,
    activation: str | None = None,
    allow: Collection[str] = (),
) -> Restored:
    """The policy in a weights file, a checkpoint, or a file of stable-baselines3.

    Args:
        environment: to play in instead of the one it was trained in; None: that one, with its arguments.
        activation: of the hidden layers of a policy of stable-baselines3; None: its algorithm's default.
        allow: modules whose code the file may name if this user did not write it on this machine.

    Raises:
        ConfigError: the activation is unknown, or the file says it itself.
        WeightsFileError: the file cannot be read.
        PluginError: it names code that is not allowed.
    """
    if is_sb3(path):
        return _restore_sb3(path, environment, activation)
    if activation is not None:
        raise ConfigError(
            f"activation: {path} says itself which activation its network has: leave {activation!r:.40} out"
        )
    file = read(path, lambda contents: demand_usable(contents, path, allow))
    config, spaces = config_of(file, path, allow), spaces_of(file, path)
    try:
        network = build_network(config.algorithm, spaces, config.network)
    except ConfigError as error:
        raise WeightsFileError(f"{path}: {error}") from error
    fill(network, file, path)
    statistics = policy_statistics(file, spaces, path)
    settings = config.environment
    if environment is not None:  # its arguments are its own; what is seen of it is as before
        settings = replace(settings, id=environment, kwargs={}, backend="gymnasium", life_ends=False)
    policy = Policy(cast(Acts, network), spaces, statistics, file.info)
    return Restored(policy, settings, config.algorithm.name, config.evaluation.greedy)


def _restore_sb3(path: str | Path, environment: str | None, activation: str | None) -> Restored:
    if environment is None:
        raise WeightsFileError(
            f"{path} is a policy of stable-baselines3, which does not say its environment: name it (--env ENV)"
        )
    if activation not in (None, *ACTIVATIONS):
        raise ConfigError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r:.80}")
    tensors = read_policy(path)
    kind = kind_of(tensors, path)
    config = from_tree({"environment": {"id": environment, "mask": "none"}})
    spaces = find_spaces(config)
    network = build(tensors, spaces, find_entries(config, spaces), activation, path)
    algorithm = f"{kind.name} of stable-baselines3 ({activation or kind.activation})"
    info = {"config": {"environment": {"id": environment}, "algorithm": {"name": algorithm}}}
    return Restored(Policy(network, spaces, None, info), config.environment, algorithm)


def play_restored(
    restored: Restored, path: str | Path, *, episodes: int, seed: int, greedy: bool, parallel: int = 64
) -> Played:
    """Episodes of a policy that was read from ``path``, in the environment that goes with it.

    Raises:
        WeightsFileError: the environment has other spaces than at training.
        EnvironmentFault: it cannot be made, or raised.
    """
    policy, settings, *_ = restored
    count = max(1, min(episodes, parallel))
    with (
        raising(),
        foreign_code(settings.id),
        contextlib.closing(make_environments(settings, count)) as environments,
        one_thread(),
    ):
        demand_same_spaces(path, policy.spaces, environments.spaces, settings.id, policy.info)
        sequence = seeds.stream(seed, child=0, worker=0, purpose=seeds.EVALUATION, interval=1)
        return play(
            policy,
            environments,
            episodes=episodes,
            seeds=seeds.integers(sequence, environments.count),
            greedy=greedy,
            seed=seeds.integer(sequence),
            limit=None if environments.is_limited else _limit_in(policy.info),
        )


def _limit_in(info: Mapping[str, Any]) -> int | None:
    """Steps after which the evaluation that chose a file's weights cut an episode; None where it does not say."""
    selection = info.get("selection")
    limit: Any = selection.get("limit") if isinstance(selection, dict) else None
    return min(limit, MAX_EPISODE_STEPS) if is_count(limit) and limit else None


def read_into(network: nn.Module, path: str | Path, spaces: Spaces, environment: str) -> WeightsFile:
    """Read weights into ``network``. They must come from the same environment and an equal network.

    Raises:
        WeightsFileError: they do not, or the file cannot be read.
    """

    def check(contents: Contents) -> None:
        demand_same_spaces(path, spaces_of(contents, path), spaces, environment, contents.info)
        demand_shapes(network, contents.stored, path)
        demand_little_beside(contents, path)

    file = read(path, check)
    demand_statistics(file, spaces, path)
    fill(network, file, path)
    return file


def demand_usable(contents: Contents, path: str | Path, allow: Collection[str]) -> None:
    """Refuse a file that holds no policy, before its tensors are loaded and its network is built.

    Raises:
        WeightsFileError: it was written by another version of marl, or has another size than its network.
        PluginError: it names code that is not allowed.
    """
    config, spaces = config_of(contents, path, allow), spaces_of(contents, path)
    network = {name: each for name, each in contents.stored.items() if name.startswith("network.")}
    numbers = sum(math.prod(each.shape) for each in network.values())
    if not config.network.own and ":" not in config.algorithm.name:  # the size of built-in networks is known
        outputs = sum(sum(part.categories) or part.size for part in leaves(spaces.actions))
        hidden = config.network.hidden or (1,)
        try:
            size = body_size(spaces.unmasked, config.network)
        except ConfigError as error:
            raise WeightsFileError(f"{path}: {error}") from error
        # An algorithm has one to five networks; some have a few more inputs or outputs than computed here, and critics
        # of pictures have hidden layers, which a policy of pictures has not.
        least = size.numbers + outputs * (size.features + 1)
        layers = sum((below + 1) * above for below, above in pairwise((size.inputs + size.features, *hidden)))
        most = 8 * (least + (outputs + 2) * (max(size.features, *hidden, 1) + 1) + layers)
        if not least <= numbers <= most or size.tensors > len(network):
            raise WeightsFileError(
                f"{path}: expected the network that its settings describe, of {least:,} numbers or more in "
                f"{size.tensors + 2:,} tensors, got {numbers:,} in {len(network):,} tensors: train again"
            )
    demand_little_beside(contents, path)


def demand_little_beside(contents: Contents, path: str | Path) -> None:
    """Refuse a file in which the network is a small part.

    Raises:
        WeightsFileError: the rest of the file is too large.
    """
    network = {name: each for name, each in contents.stored.items() if name.startswith("network.")}
    numbers = sum(math.prod(each.shape) for each in network.values())
    rest = sum(each.num_bytes for name, each in contents.stored.items() if name not in network)
    if rest > REST_BYTES + REST_FACTOR * 4 * numbers:
        raise WeightsFileError(f"{path}: expected little beside a network of {numbers:,} numbers, got {rest:,} bytes")


def config_of(file: WeightsFile | Contents, path: str | Path, allow: Collection[str]) -> Config:
    """The settings that a file was trained with.

    Raises:
        WeightsFileError: they are missing, or of a version that is not understood.
        PluginError: they name code that is not allowed.
    """
    try:
        tree = file.info["config"]
        if not file.own:
            needed = {section: each for section, each in tree.items() if section != "report"}
            demand_allowed(needed, path, allow)  # the sinks of that run are not made here
        config = from_tree(tree)
        validate(config)
        return config
    except (AttributeError, KeyError, TypeError, ConfigError) as error:
        raise WeightsFileError(f"{path} was written by another version of marl: {error}") from error


def spaces_of(file: WeightsFile | Contents, path: str | Path) -> Spaces:
    """The spaces that a file was trained with.

    Raises:
        WeightsFileError: they are missing, or no spaces.
    """
    try:
        return read_spaces(file.info.get("spaces"))
    except ValueError as error:
        raise WeightsFileError(f"{path} does not say which spaces it was trained on: {error}") from error


def policy_statistics(file: WeightsFile, spaces: Spaces, path: str | Path) -> RunningStatistics | None:
    """The statistics by which a file's policy normalises observations; None if it does not.

    Raises:
        WeightsFileError: observations of these spaces cannot have such statistics.
    """
    if "normalizer" not in file.tensors:
        return None
    return _statistics_in(file.tensors["normalizer"], spaces.measured_size, path, "observations")


def demand_statistics(file: WeightsFile, spaces: Spaces, path: str | Path) -> None:
    """Refuse a file with impossible statistics: those of its policy, and those that a resumed run continues with.

    Raises:
        WeightsFileError: statistics in it are impossible.
    """
    policy_statistics(file, spaces, path)
    for name, size in (("observations", spaces.measured_size), ("rewards", 1)):
        rows = file.tensors.get(name)
        if rows is not None:
            _statistics_in(rows[0] if rows.dim() == 2 and len(rows) == 1 else rows[None], size, path, name)


def _statistics_in(row: Tensor, size: int, path: str | Path, name: str) -> RunningStatistics:
    try:
        return read_statistics(row.numpy(), size)
    except ValueError as error:
        raise WeightsFileError(f"{path}: the statistics of {name} are damaged: {error}") from error


def demand_same_spaces(path: str | Path, before: Spaces, now: Spaces, name: str, info: Mapping[str, Any]) -> None:
    """Refuse to use a file with an environment of other spaces: the numbers would mean something else.

    Args:
        before: of the file at ``path``.
        now: of the environment called ``name``.
        info: what the file says beside; where it was trained in another environment, the refusal names that one.

    Raises:
        WeightsFileError: they differ.
    """
    differing = differences(before, now)
    if differing:
        trained_in = _trained_in(info)
        more = f" and {len(differing) - MOST_FIELDS} more" if len(differing) > MOST_FIELDS else ""
        was = ", ".join(f"{field} {value!s:.60}" for field, value, _ in differing[:MOST_FIELDS]) + more
        has = ", ".join(f"{field} {value!s:.60}" for field, _, value in differing[:MOST_FIELDS]) + more
        if trained_in and trained_in != name:
            raise WeightsFileError(
                f"{path} was trained in {trained_in:.80} and expects {was}, {name} has {has}: "
                f"name an environment with the spaces of {trained_in:.80}, or train from the start in {name}"
            )
        raise WeightsFileError(
            f"{path} was trained on {was}, {name} now has {has}: make it as it was, or train from the start"
        )


def _trained_in(info: Mapping[str, Any]) -> str:
    """The environment that a file was trained in; "" where it does not say."""
    with contextlib.suppress(KeyError, TypeError):
        return str(info["config"]["environment"]["id"])
    return ""
