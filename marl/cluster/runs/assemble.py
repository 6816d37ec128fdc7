"""Makes and joins the parts of a run: trainer, evaluation, checkpoints, sinks."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from marl.cluster.planning.model import Reference
from marl.cluster.runs.checkpoint_manager import CheckpointManager, find_seal_key, latest_checkpoint
from marl.cluster.runs.evaluation import Evaluation
from marl.cluster.runs.prepare import Prepared
from marl.cluster.runs.trials import Audit
from marl.cluster.runs.watch import Run
from marl.cluster.trainers.trainer import Given, Trainer
from marl.config.settings import Config
from marl.errors import WeightsFileError
from marl.files import open_to_append
from marl.processes.group import ProcessGroup
from marl.reports.meter import Meter, StopGoal
from marl.reports.run_folder import RunFolder
from marl.reports.stream import Stream
from marl.training.saved.checkpoint import BackgroundWriter
from marl.training.saved.weights_file import WeightsFile


@contextlib.contextmanager
def assembled(
    config: Config,
    parts: Prepared,
    folder: RunFolder,
    events: Stream,
    make_trainer: Callable[[Given], Trainer],
    resumed: WeightsFile | None,
    out: str = "",
    reference: Reference | None = None,
) -> Iterator[Run]:
    """A run that is ready to begin; at the end of the block all of it is closed.

    Args:
        make_trainer: makes the part that plays the steps and learns.
        resumed: the checkpoint to go on from.
        out: where the weights file goes; checkpoints say it.
        reference: what the speed-up is measured against; None: none is told.

    Raises:
        MarlError: a part cannot be made, or the checkpoint is damaged.
    """
    goal = StopGoal(
        steps=config.stop.steps,
        seconds=None if config.stop.minutes is None else 60 * config.stop.minutes,
        episodes=config.stop.episodes,
        solved_return=config.environment.solved_return if config.stop.solved else None,
    )
    meter, note = Meter(goal=goal), events.note
    spaces, network, weights = parts.spaces, parts.network, parts.weights
    key = find_seal_key(note)
    log = error_log(folder.path / "errors.log", note)
    with ProcessGroup() as group, contextlib.ExitStack() as stack:
        given = Given(config, spaces, network, weights, folder, group, events, log, parts.initial, resumed)
        with _damage_told(folder, resumed):
            trainer = make_trainer(given)
            writer = stack.enter_context(contextlib.closing(BackgroundWriter(note)))
            checkpoints = CheckpointManager(config, spaces, network, weights, folder, writer, key, out=out)
            evaluation = Evaluation(config, spaces, group, checkpoints, meter, note=note, log=log, tell=events.on)
            side = trainer.audited()
            audit = None if side is None else Audit(config, spaces, group, side, note=note, log=log)
            run = Run(
                config, trainer, evaluation, checkpoints, meter, goal, folder, events,
                group=group, writer=writer, audit=audit, reference=reference,
            )  # fmt: skip
            if resumed is not None:
                run.restore(resumed)
        yield run


def error_log(path: Path, note: Callable[[str], None]) -> Callable[[str], None]:
    """Returns a function that appends a traceback to a file. If it cannot, it tells ``note``."""

    def log(trace: str) -> None:
        try:
            with open(open_to_append(path), "a", encoding="utf-8") as file:
                file.write(trace + "\n")
        except OSError as error:
            note(f"a traceback is lost, {path} cannot be written ({error.strerror or error})")

    return log


@contextlib.contextmanager
def _damage_told(folder: RunFolder, resumed: WeightsFile | None) -> Iterator[None]:
    """Turn the errors that a damaged checkpoint causes in the block into one line."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        if resumed is None:
            raise
        damage = f"{type(error).__name__}: {error}"
        raise WeightsFileError(f"{latest_checkpoint(folder)} is damaged ({damage}): use --init") from error
