"""A run from its name to its weights file: settings, folder, training, results."""

import contextlib
import functools
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from marl.cluster.fleets.fleet import Fleet
from marl.cluster.planning.model import Reference
from marl.cluster.planning.settle import left_open, settled
from marl.cluster.runs.assemble import assembled
from marl.cluster.runs.checkpoint_manager import CheckpointManager, find_seal_key, latest_checkpoint
from marl.cluster.runs.prepare import Prepared, complete, demand_writable, prepare
from marl.cluster.runs.reporting import reporting
from marl.cluster.runs.restore import demand_usable
from marl.cluster.runs.result import draw_curve, end_facts, fields, finished, keep_weights
from marl.cluster.runs.resumable import demand_resumable, demand_same_kind, resumed_config
from marl.cluster.runs.suggestions import choose
from marl.cluster.runs.watch import Outcome, Run
from marl.cluster.trainers.make_trainer import make_trainer
from marl.cluster.trainers.trainer import Given, Trainer
from marl.config.files import says, to_toml
from marl.config.settings import Config
from marl.errors import ConfigError, NoChildren
from marl.processes.signals import stop_event
from marl.reports.events import Ended, Event
from marl.reports.remote import LOCAL, RemoteRuns, is_remote
from marl.reports.run_folder import RunFolder, create_run_folder, open_run_folder, write_atomic
from marl.reports.run_lock import writing
from marl.reports.sinks.callback import Callback
from marl.reports.sinks.make_sinks import TELLING, make_sinks
from marl.reports.sinks.remote_sink import RemoteSink
from marl.reports.sinks.sink import Sink
from marl.reports.sinks.terminal import Terminal, say
from marl.reports.stream import Stream
from marl.training.saved.weights_file import WeightsFile, read

WEIGHTS = "weights.pt"


def run(
    source: str | Path | None,
    settings: dict[str, Any],
    *,
    fleet: Fleet | None = None,
    wait_s: float = 0.0,
    resume: str | Path | None,
    init: str | Path | None,
    out: Path | None,
    live: bool,
    plain: bool,
    look: bool = True,
    allow: tuple[str, ...] = (),
    callback: Callable[[Event], object] | None = None,
) -> dict[str, Any]:
    """Train. Returns the fields of ``TrainResult``.

    Args:
        look: whether settings follow a look at an environment that has no preset.
        out: where the weights file goes; None: where a resumed run was to write it, and otherwise ``WEIGHTS``.
        callback: hears every event; see ``marl.api.train``.
        allow: modules that a file may name even if this user did not write the file on this machine.
        fleet: brings the children to train on, and is closed at the end; None: this machine alone.
        wait_s: seconds for the first child.

    Raises:
        MarlError: anything the user can mend.
    """
    if resume is not None and is_remote(resume):
        resume, settings = _fetched(str(resume), settings)
    with contextlib.ExitStack() as stack:  # while this is open, no other process writes to the run folder
        config, folder, resumed, chosen = _settings(stack, source, settings, resume, init, allow, look)
        if resumed is not None and folder is not None:
            demand_same_kind(resumed, folder, fleet is not None)
            new_end = any(key.startswith("stop.") for key in settings)
            if (result := finished(config, resumed, folder, new_end=new_end)) is not None:
                return result
        elif fleet is not None and not says("exchange", source, settings):
            config = left_open(config)
        out = _out_of(resumed) if out is None else out
        demand_writable(out)
        remote = None
        if is_remote(config.report.runs):
            remote = RemoteRuns(config.report.runs)
            remote.demand_writable()
        reference: Reference | None = None
        if config.exchange.is_open:
            config, fleet, lines, reference = settled(config, fleet, wait_s, _early(config, live=live))
            chosen += lines
        parts = prepare(config, on_children=fleet is not None, init=init, resume=resume, resumed=resumed)
        if resumed is None or folder is None:
            folder = _new_folder(stack, config)
        else:
            _sweep(folder, resumed)
        make = functools.partial(make_trainer, fleet=fleet, wait_s=wait_s, sample=parts.sample)
        # Close the fleet inside ``stop_event``: a second Ctrl-C must not lose the result or leave a local key behind.
        with (
            stop_event() as stopped,
            contextlib.nullcontext() if fleet is None else contextlib.closing(fleet),
            reporting(
                config, folder, _sinks(parts, callback, stopped, remote), resumed, plain=plain, quiet=not live
            ) as events,
        ):
            for line in (*chosen, *parts.warnings):
                events.note(line)
            started = time.time()
            outcome, checkpoints = _train(config, parts, folder, events, make, resumed, stopped, out, reference)
            kept = keep_weights(checkpoints, outcome, folder, out)
            folder.update_facts(end_facts(outcome))
            events.on(Ended(reason=outcome.reason, return_mean=outcome.status.return_mean, failure=kept.failure))
            if config.report.pictures and not stopped.is_set():  # a user who stops a run does not want to wait for it
                draw_curve(config, folder, events)
        return fields(config, outcome, kept, folder, started=started, stopped_by=stopped.signal)


def _early(config: Config, *, live: bool) -> Callable[[str], None]:
    """Tells the user a line before the run has sinks."""
    shown = live and any(isinstance(each, Terminal) for each in make_sinks(config.report.sinks).values())
    return say if shown else lambda unused_line: None


def _sinks(
    parts: Prepared,
    callback: Callable[[Event], object] | None,
    stopped: threading.Event,
    remote: RemoteRuns | None,
) -> Mapping[str, Sink]:
    sinks = dict(parts.sinks) if callback is None else {"callback": Callback(callback, stopped), **parts.sinks}
    if remote is not None:  # after those that write files, before those that tell whether it worked
        told = {name: sinks.pop(name) for name in TELLING if name in sinks}
        sinks |= {"remote": RemoteSink(remote), **told}
    return sinks


def _fetched(uri: str, settings: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """The run folder at a URI, on this machine now; and the settings, with which its copy is kept up to date."""
    runs, _, name = uri.rstrip("/").rpartition("/")
    RemoteRuns(runs).fetch(name, Path(LOCAL))
    return Path(LOCAL, name), {"report.runs": runs, **settings}


def _settings(
    stack: contextlib.ExitStack,
    source: str | Path | None,
    settings: dict[str, Any],
    resume: str | Path | None,
    init: str | Path | None,
    allow: tuple[str, ...],
    look: bool,
) -> tuple[Config, RunFolder | None, WeightsFile | None, list[str]]:
    """The settings of the run; for a resumed run, also its folder and its checkpoint; what a look chose, in words."""
    if resume is None:
        chosen = choose(source, settings, allow, look=look)
        return complete(chosen.config), None, None, chosen.in_words()
    if source is not None or init is not None:
        raise ConfigError("--resume goes on with a run as it was: leave out the environment and --init")
    folder = open_run_folder(Path(resume))
    stack.enter_context(writing(folder.path))
    checkpoint = latest_checkpoint(folder)
    resumed = read(checkpoint, lambda contents: demand_usable(contents, checkpoint, allow))
    demand_resumable(resumed, checkpoint)
    return resumed_config(resumed, folder, settings, allow), folder, resumed, []


def _out_of(resumed: WeightsFile | None) -> Path:
    """Where a run's weights go if the user does not say it. A stranger's checkpoint names no place on this machine."""
    named = resumed.info.get("out") if resumed is not None and resumed.own else None
    return Path(named if isinstance(named, str) and named else WEIGHTS)


def _new_folder(stack: contextlib.ExitStack, config: Config) -> RunFolder:
    """Make the folder of a new run, with its settings in it."""
    name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in config.environment.id)
    place = LOCAL if is_remote(config.report.runs) else config.report.runs
    folder = create_run_folder(Path(place), name.strip("-."))
    stack.enter_context(writing(folder.path))
    write_atomic(folder.config, to_toml(config, find_seal_key()).encode())
    return folder


def _sweep(folder: RunFolder, resumed: WeightsFile) -> None:
    """Remove from the run folder what was written after the checkpoint."""
    folder.sweep()
    # The number of steps that was shown; the number that is merged into the weights may be smaller.
    folder.truncate_metrics(int(resumed.info["meter"]["steps"]), float(resumed.info["seconds"]))


def _train(
    config: Config,
    parts: Prepared,
    folder: RunFolder,
    events: Stream,
    make: Callable[[Given], Trainer],
    resumed: WeightsFile | None,
    stopped: threading.Event,
    out: Path,
    reference: Reference | None,
) -> tuple[Outcome, CheckpointManager]:
    """Train to the end; a new run in which nobody played leaves no folder.

    Raises:
        MarlError: it cannot go on.
    """
    made: Run | None = None
    try:
        with assembled(config, parts, folder, events, make, resumed, str(out), reference) as made:
            outcome = made.train(stopped)
    except NoChildren:
        if resumed is None and made is not None and made.never_began():
            events.close()
            shutil.rmtree(folder.path, ignore_errors=True)  # it holds nothing of use
        raise
    return outcome, made.checkpoints
