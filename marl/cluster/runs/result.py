"""What a run leaves behind at its end: the weights file, a picture, and what the caller is told."""

import time
from pathlib import Path
from typing import Any, NamedTuple

from marl.cluster.runs.checkpoint_manager import BEST, CheckpointManager, latest_checkpoint
from marl.cluster.runs.evaluation import Final
from marl.cluster.runs.watch import Outcome
from marl.config.settings import Config
from marl.errors import RunFolderError
from marl.exchanges.run import replay_ratio
from marl.reports.run_folder import RunFolder
from marl.reports.stream import Stream
from marl.training.saved.weights_file import WeightsFile


class Kept(NamedTuple):
    """Where the weights are."""

    weights: Path
    failure: str | None  # why they are not where the user wants them


def keep_weights(checkpoints: CheckpointManager, outcome: Outcome, folder: RunFolder, out: Path) -> Kept:
    """Write the weights file; where that fails, the run folder has them.

    A run that has learned nothing replaces no file.

    Raises:
        RunFolderError: they could not be written there either.
    """
    in_folder = folder.path / BEST if checkpoints.best is not None else latest_checkpoint(folder)
    if not outcome.learned and out.exists() and in_folder.is_file():
        return Kept(in_folder, None)
    try:
        checkpoints.write_weights(outcome.last, out, _evaluation(outcome.evaluation))
        return Kept(out, None)
    except OSError as error:
        reason, kept = error.strerror or error, in_folder
        if not kept.is_file():
            raise RunFolderError(
                f"expected to write {out}, got {reason}, and {kept} could not be written either: "
                "free space there and train again"
            ) from error
        return Kept(kept, f"could not write {out}: {reason}; the weights are in {kept}")


def draw_curve(config: Config, folder: RunFolder, events: Stream) -> None:
    """Draw the learning curve. With a full disk there is no picture, but the run does not fail."""
    from marl.reports.plots.draw import learning_curve

    try:
        learning_curve(
            folder.read_curve(),
            folder.path / "curve.png",
            title=f"{config.environment.id}, {config.algorithm.name}",
            solved_return=config.environment.solved_return,
        )
    except OSError as error:
        events.note(f"no picture of the learning curve: {error.strerror or error}")


def end_facts(outcome: Outcome) -> dict[str, Any]:
    """For the run folder: how the run ended, the returns of its weights, and why they are fewer than wanted."""
    status = outcome.status
    end: dict[str, Any] = {"reason": outcome.reason, "steps": status.steps, "seconds": status.seconds}
    if status.virtual_seconds is not None:
        end["virtual_seconds"] = status.virtual_seconds
    lacking = {"lacking": outcome.evaluation.lacking} if outcome.evaluation.lacking else {}
    return {"ended": {**end, **_evaluation(outcome.evaluation), **lacking}}


def fields(
    config: Config, outcome: Outcome, kept: Kept, folder: RunFolder, *, started: float, stopped_by: int | None
) -> dict[str, Any]:
    """The fields of ``TrainResult``.

    Args:
        started: time.time() when training began.
        stopped_by: number of the signal that came, if any.
    """
    status, summary = outcome.status, outcome.evaluation.summary
    shares = [
        {"step": float(step), "act": float(act - step), "learn": float(learn)} for act, step, learn in outcome.shares
    ]
    return {
        "reason": outcome.reason,
        "solved": outcome.reason == "solved",
        "weights": kept.weights,
        "run": folder.path,
        "seconds": status.seconds,
        "steps": status.steps,
        "episodes": status.episodes,
        "updates": status.updates,
        "steps_per_second": outcome.steps / max(outcome.training_seconds, 1e-9),
        "return_mean": status.return_mean,
        "return_episodes": status.window_filled,
        "evaluation_mean": None if summary is None else summary.mean,
        "evaluation_interval": None if summary is None else (summary.ci_low, summary.ci_high),
        "evaluation_episodes": 0 if summary is None else summary.episodes,
        "evaluation_lacking": outcome.evaluation.lacking,
        "first_update_at": outcome.first_update_at,
        "training_started_at": started,
        "training_ended_at": outcome.solved_at or outcome.ended_at,
        "seconds_per_worker": shares,
        "failure": kept.failure or _unlearned(config, outcome),
        "virtual_seconds": status.virtual_seconds,
        "signal": stopped_by if outcome.reason == "stopped" else None,
    }


def finished(config: Config, resumed: WeightsFile, folder: RunFolder, *, new_end: bool) -> dict[str, Any] | None:
    """The fields of ``TrainResult`` if the run to be resumed has reached its end already; None if it can go on.

    Args:
        new_end: whether the user has given a new end. If so, a run that ended as solved can go on.

    Raises:
        RunFolderError: the checkpoint is damaged.
    """
    ended = folder.read_facts().get("ended")
    if not isinstance(ended, dict):  # it was killed before its weights were in place, or is of an older version
        return None
    try:
        return _finished(config, resumed.info, folder, ended, new_end)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(
            f"expected {latest_checkpoint(folder)} to say how far the run is, got {type(error).__name__}: {error}: "
            "it is damaged; start a new run with --init"
        ) from error


def _finished(
    config: Config, info: dict[str, Any], folder: RunFolder, ended: dict[str, Any], new_end: bool
) -> dict[str, Any] | None:
    stop, meter = config.stop, info["meter"]
    reached = (
        (stop.steps is not None and info["steps"] >= stop.steps)
        or (stop.minutes is not None and info["seconds"] >= 60 * stop.minutes)
        or (stop.episodes is not None and meter["episodes"] >= stop.episodes)
        or (stop.solved and not new_end and ended.get("reason") == "solved")
    )
    if not reached:
        return None
    best = folder.path / BEST
    now = time.time()
    returns = meter["returns"]
    return {
        "reason": "finished",
        "solved": ended.get("reason") == "solved",
        "weights": best if best.is_file() else latest_checkpoint(folder),
        "run": folder.path,
        "seconds": float(info["seconds"]),
        "steps": int(info["steps"]),
        "episodes": int(meter["episodes"]),
        "updates": int(info["updates"]),
        "steps_per_second": 0.0,
        "return_mean": sum(returns) / len(returns) if returns else None,
        "return_episodes": len(returns),
        "evaluation_mean": None,
        "evaluation_interval": None,
        "evaluation_episodes": 0,
        "evaluation_lacking": "nothing was trained",
        "first_update_at": None,
        "training_started_at": now,
        "training_ended_at": now,
        "seconds_per_worker": [],
        "failure": None,
        "signal": None,
        "virtual_seconds": info.get("virtual_seconds"),
    }


def _unlearned(config: Config, outcome: Outcome) -> str | None:
    """A message if the run ended by itself before it learned anything; else None."""
    if outcome.learned or outcome.reason == "stopped":
        return None
    why = ""
    if replay_ratio(config) and outcome.status.steps < config.replay.start:
        why = f" (replay.start: the first comes after {config.replay.start:,} steps)"
    return (
        f"nothing was learned: {outcome.status.steps:,} steps and not one update{why}; "
        "give the run a later end (--steps, --minutes, --episodes)"
    )


def _evaluation(final: Final) -> dict[str, Any]:
    return {} if final.summary is None else {"evaluation": final.summary._asdict()}
