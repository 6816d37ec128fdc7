"""Prepares a run before it has a folder: errors show here, before anything is written."""

import dataclasses
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from marl.cluster.find_spaces import find_spaces
from marl.cluster.memory_demand import queue_places, replay_memory
from marl.cluster.own_parts import try_parts
from marl.cluster.runs.restore import demand_same_spaces, read_into, spaces_of
from marl.cluster.trainers.measures import sample_observations
from marl.config.rules import demand_end, demand_sendable
from marl.config.settings import Config
from marl.data.normalizer import RunningStatistics
from marl.data.pictures import flat_note
from marl.data.spaces import Spaces
from marl.environments.check import blur_of
from marl.environments.make import registered_threshold
from marl.environments.worlds.atari import old_id_note
from marl.errors import ConfigError
from marl.exchanges.run import replay_ratio
from marl.plugins import foreign_code
from marl.processes.cores import count_cores
from marl.processes.signals import raising
from marl.reports.places import demand_file
from marl.reports.sinks.make_sinks import make_sinks
from marl.reports.sinks.sink import Sink
from marl.training.busy_time import demand_own_clock
from marl.training.flat import flatten
from marl.training.saved.weights_file import WeightsFile, fill


class Prepared(NamedTuple):
    """The parts that the settings ask for, made and tested."""

    spaces: Spaces
    sinks: dict[str, Sink]
    network: nn.Module  # with the weights to start from; once the run has begun, only files are written with it
    weights: Tensor  # [N]  its numbers as one vector
    initial: WeightsFile | None  # file that these weights are from
    warnings: list[str]  # of the environment and the algorithm, in a line each
    sample: RunningStatistics | None  # statistics of observations made on this machine, for a run on children


def prepare(
    config: Config,
    *,
    on_children: bool,
    init: str | Path | None,
    resume: str | Path | None,
    resumed: WeightsFile | None,
) -> Prepared:
    """Look at the environment, build the network, see whether there is room.

    Args:
        init: the weights file to start from.
        resume: the run to go on with; ``resumed`` is its checkpoint, whose weights the network gets.

    Raises:
        MarlError: something cannot work.
    """
    demand_place(config, on_children)
    spaces = find_spaces(config)
    if resumed is not None:
        demand_same_spaces(str(resume), spaces_of(resumed, str(resume)), spaces, config.environment.id, resumed.info)
    sinks = make_sinks(config.report.sinks)
    network = try_parts(config, spaces)
    weights = flatten(network).weights
    if resumed is not None:
        fill(network, resumed, str(resume))
    config.exchange.demand_packages()
    _demand_room(config, spaces, network, on_children)
    initial = None if init is None else read_into(network, init, spaces, config.environment.id)
    # A step that never returns can be interrupted here; once the run has begun, signals only set an event.
    with raising(), foreign_code(config.environment.id):
        warnings = [blur_of(config.environment, spaces), old_id_note(config.environment)]
        warnings.append(config.algorithm.remark(network, _environments(config)))
    if config.network.encoder in (None, "auto") and not config.network.name:
        warnings.append(flat_note(spaces.observations))
    sample = sample_observations(config, spaces) if on_children else None
    return Prepared(spaces, sinks, network, weights, initial, [*filter(None, warnings)], sample)


def _environments(config: Config) -> int:
    """How many environments have played what is learned from at once."""
    exchange = config.exchange
    return exchange.rows(config) * (exchange.learner_plan().batch if exchange.learner else 1)


def demand_place(config: Config, on_children: bool) -> None:
    """Refuse settings that cannot be trained on children, or not on this machine alone.

    Raises:
        ConfigError: they cannot.
    """
    if config.clock.virtual:
        demand_own_clock()
        if on_children:
            config.exchange.demand_rounds()
        elif config.exchange.learner:
            raise ConfigError(
                f"clock.virtual = true with exchange.name = {config.exchange.name!r} needs children (marl parent): on "
                "this machine alone use exchange.name = 'weights'"
            )
    if not on_children:
        return config.exchange.demand_alone()
    demand_sendable(config)
    if config.deterministic:
        if ratio := replay_ratio(config):
            raise ConfigError(
                f"deterministic = true needs replay.ratio = 0 on children, got {ratio:g}: a child that starts again "
                "has lost its replay (on this machine alone it may be more)"
            )
        config.exchange.demand_same_bits()


def _demand_room(config: Config, spaces: Spaces, network: nn.Module, on_children: bool) -> None:
    """Refuse a replay or a queue that has no room on this machine."""
    if config.exchange.learner:
        replay_memory(config, spaces, network, 1, learner=True)
        queue_places(config, config.exchange.layout(config, spaces, network), 1)
    elif not on_children:
        replay_memory(config, spaces, network, config.node.workers or count_cores())


def complete(config: Config) -> Config:
    """Fill in what the settings leave open: the seed, and the return that the environment's registration calls solved.

    Raises:
        ConfigError: nothing says when to stop.
        EnvironmentFault: there is no such environment.
    """
    environment = config.environment
    if environment.solved_return is None and environment.backend == "gymnasium":
        environment = dataclasses.replace(environment, solved_return=registered_threshold(environment))
    seed = config.seed
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0] >> 1)
    config = dataclasses.replace(config, seed=seed, environment=environment)
    demand_end(config)
    return config


def demand_writable(out: Path) -> None:
    """Refuse a place where no weights file can be written. Otherwise the error would come only after training.

    Raises:
        ConfigError: no weights file can be written there.
    """
    demand_file(out, "--out")
    if not out.parent.is_dir():
        raise ConfigError(f"--out: the folder {out.parent} does not exist: make it first")
    if not os.access(out.parent, os.W_OK):
        raise ConfigError(
            f"--out: the folder {out.parent} cannot be written: choose another, or change its permissions"
        )
