"""A run from its name to its weights file: settings, folder, training, results."""

import contextlib
import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from marl.cluster.addresses import parse_addresses
from marl.cluster.find_spaces import find_spaces
from marl.cluster.fleets.cluster_settings import Cluster
from marl.cluster.fleets.local import LocalChildren
from marl.cluster.memory_demand import queue_places, replay_memory
from marl.cluster.own_parts import try_parts
from marl.cluster.runs.checkpoint_manager import find_seal_key
from marl.cluster.runs.reporting import reporting
from marl.cluster.runs.restore import demand_same_spaces, demand_usable, read_initial, spaces_of
from marl.cluster.runs.result import draw_curve, end_facts, fields, finished, keep_weights
from marl.cluster.runs.resumable import demand_resumable, demand_same_kind, resumed_config
from marl.cluster.runs.training import Training, latest_checkpoint
from marl.cluster.trainers.measures import sample_observations
from marl.cluster.trainers.single import SingleTraining
from marl.config.files import load_config, to_toml
from marl.config.rules import demand_end, demand_sendable
from marl.config.settings import Config
from marl.environments.check import blur_of
from marl.environments.make import registered_threshold
from marl.errors import ConfigError, NoChildren
from marl.plugins import foreign_code
from marl.processes.cores import count_cores
from marl.processes.signals import raising, stop_event
from marl.reports.events import Ended
from marl.reports.run_folder import create_run_folder, open_run_folder, write_atomic
from marl.reports.run_lock import writing
from marl.reports.sinks.make_sinks import make_sinks
from marl.training.weights_file import WeightsFile, read
from marl.wire.zstandard import demand_zstd


def run(
    source: str | Path | None,
    settings: dict[str, Any],
    *,
    cluster: Cluster | None = None,
    local: LocalChildren | None = None,
    resume: str | Path | None,
    init: str | Path | None,
    out: Path,
    live: bool,
    plain: bool,
    allow: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Train; the fields of ``TrainResult``.

    Args:
        allow: modules whose code files may name that this user did not write on this machine.
        cluster: the children to train on; None: this machine alone.
        local: those of them that were started for this run.

    Raises:
        MarlError: anything the user can mend.
    """
    with contextlib.ExitStack() as stack:
        return _run(
            stack,
            source,
            settings,
            cluster=cluster,
            local=local,
            resume=resume,
            init=init,
            out=out,
            live=live,
            plain=plain,
            allow=allow,
        )


def _run(
    stack: contextlib.ExitStack,
    source: str | Path | None,
    settings: dict[str, Any],
    *,
    cluster: Cluster | None,
    local: LocalChildren | None,
    resume: str | Path | None,
    init: str | Path | None,
    out: Path,
    live: bool,
    plain: bool,
    allow: tuple[str, ...],
) -> dict[str, Any]:
    """``run``; the run folder is this process's own as long as ``stack`` is."""
    initial: WeightsFile | None = None
    resumed: WeightsFile | None = None
    if resume is not None:
        if source is not None or init is not None:
            raise ConfigError("--resume goes on with a run as it was: leave out the environment and --init")
        folder = open_run_folder(Path(resume))
        stack.enter_context(writing(folder.path))
        checkpoint = latest_checkpoint(folder)
        resumed = read(checkpoint, lambda contents: demand_usable(contents, checkpoint, allow))
        demand_resumable(resumed, checkpoint)
        config = resumed_config(resumed, folder, settings, allow)
        demand_same_kind(resumed, folder, cluster is not None)
        new_end = any(key.startswith("stop.") for key in settings)
        if (result := finished(config, resumed, folder, new_end=new_end)) is not None:
            return result
    else:
        config = _complete(load_config(source, settings, allow=allow))
    _check_out(out)
    if cluster is not None:
        parse_addresses(cluster.children, cluster.port)  # what is no address shows before any folder too
        demand_sendable(config)
        if config.deterministic:
            config.exchange.demand_same_bits()
    else:
        config.exchange.demand_alone()
    spaces = find_spaces(config)
    if resumed is not None:
        demand_same_spaces(str(resume), spaces_of(resumed, str(resume)), spaces, config.environment.id)
    sinks = make_sinks(config.report.sinks)
    network = try_parts(config, spaces)  # what cannot work shows before any folder
    if config.exchange.zstd:
        demand_zstd()
    if config.exchange.learner:
        replay_memory(config, spaces, network, 1, learner=True)
        queue_places(config, config.exchange.layout(config, spaces, network), 1)
    elif cluster is None:
        replay_memory(config, spaces, network, config.node.workers or count_cores())
    if init is not None:
        initial = read_initial(init, network, spaces, config.environment.id)
    # A step that never returns can be interrupted here; once the run has begun, signals only set an event.
    with raising(), foreign_code(config.environment.id):
        blur = blur_of(config.environment, spaces)
    sample = None if cluster is None else sample_observations(config, spaces)
    if resumed is not None:
        folder.sweep()
        # As many steps as were shown: those merged into the weights may be fewer.
        folder.truncate_metrics(int(resumed.info["meter"]["steps"]), float(resumed.info["seconds"]))
    else:
        folder = create_run_folder(Path(config.report.runs), _folder_name(config.environment.id))
        stack.enter_context(writing(folder.path))
        write_atomic(folder.config, to_toml(config, find_seal_key()).encode())
    # Local children end inside: a second Ctrl-C must not cost what the run has to say, nor leave their key.
    with (
        stop_event() as stopped,
        local or contextlib.nullcontext(),
        reporting(config, folder, sinks, resumed, plain=plain, quiet=not live) as events,
    ):
        if blur:
            events.note(blur)
        training: Training
        if cluster is None and config.exchange.learner:
            from marl.cluster.trainers.actors import ActorLearnerTraining

            training = ActorLearnerTraining(config, spaces, folder, events, initial=initial, resumed=resumed)
        elif cluster is None:
            training = SingleTraining(config, spaces, folder, events, initial=initial, resumed=resumed)
        else:
            # Only here: a run on this machine alone need not wait for TLS and sockets to be imported.
            from marl.cluster.trainers.parent import ParentTraining

            kind = ParentTraining
            if config.exchange.learner:
                from marl.cluster.trainers.learner_parent import LearnerParentTraining

                kind = LearnerParentTraining
            training = kind(
                config, spaces, folder, events, cluster, local, sample=sample, initial=initial, resumed=resumed
            )
        started = time.time()
        try:
            outcome = training.run(stopped)
        except NoChildren:
            if resumed is None and training.never_began():
                events.close()
                shutil.rmtree(folder.path, ignore_errors=True)  # nothing in it is worth anybody's time
            raise
        kept = keep_weights(training.checkpoints, outcome, folder, out)
        folder.update_facts(end_facts(outcome))
        events.on(Ended(reason=outcome.reason, return_mean=outcome.status.return_mean, failure=kept.failure))
        if config.report.pictures and not stopped.is_set():  # who has stopped a run waits for no picture
            draw_curve(config, folder, events)
    return fields(config, outcome, kept, folder, started=started, stopped_by=stopped.signal)


def _complete(config: Config) -> Config:
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


def _folder_name(environment: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in environment)
    return kept.strip("-.")


def _check_out(out: Path) -> None:
    if out.is_dir():
        raise ConfigError(f"--out: expected a file to write, {out} is a folder")
    if not out.parent.is_dir():
        raise ConfigError(f"--out: the folder {out.parent} does not exist: make it first")
    if not os.access(out.parent, os.W_OK):  # else it would show only when training is over
        raise ConfigError(
            f"--out: the folder {out.parent} cannot be written: choose another, or change its permissions"
        )
