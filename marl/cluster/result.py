"""What a run leaves behind at its end: the weights file, and what is told to whoever started it."""

from pathlib import Path
from typing import Any, NamedTuple

from marl.cluster.evaluation import Final
from marl.cluster.keeper import BEST, Keeper
from marl.cluster.training import Outcome, latest_checkpoint
from marl.errors import RunFolderError
from marl.reports.run_folder import RunFolder


class Kept(NamedTuple):
    """Where the weights are."""

    weights: Path
    failure: str | None  # why they are not where the user wants them


def keep_weights(keeper: Keeper, outcome: Outcome, folder: RunFolder, out: Path) -> Kept:
    """Write the weights file; where that fails, the run folder has them.

    Raises:
        RunFolderError: not even there could they be written.
    """
    try:
        keeper.write_weights(outcome.last, out, _evaluation(outcome.evaluation))
        return Kept(out, None)
    except OSError as error:
        reason = error.strerror or error
        kept = folder.path / BEST if keeper.best is not None else latest_checkpoint(folder)
        if not kept.is_file():
            raise RunFolderError(
                f"expected to write {out}, got {reason}, and {kept} could not be written either: "
                "free space there and train again"
            ) from error
        return Kept(kept, f"could not write {out}: {reason}; the weights are in {kept}")


def end_facts(outcome: Outcome) -> dict[str, Any]:
    """For the run folder: how the run ended, and what its weights earn."""
    end = {"reason": outcome.reason, "steps": outcome.status.steps, "seconds": outcome.status.seconds}
    return {"ended": {**end, **_evaluation(outcome.evaluation)}}


def fields(outcome: Outcome, kept: Kept, folder: RunFolder, started: float) -> dict[str, Any]:
    """Of ``TrainResult``."""
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
        "evaluation_mean": None if summary is None else summary.mean,
        "evaluation_interval": None if summary is None else (summary.ci_low, summary.ci_high),
        "evaluation_episodes": 0 if summary is None else summary.episodes,
        "evaluation_lacking": outcome.evaluation.lacking,
        "first_update_at": outcome.first_update_at,
        "training_started_at": started,
        "training_ended_at": outcome.solved_at or outcome.ended_at,
        "seconds_per_worker": shares,
        "failure": kept.failure,
    }


def _evaluation(final: Final) -> dict[str, Any]:
    return {} if final.summary is None else {"evaluation": final.summary._asdict()}
