"""What a training run came to, as its command prints it."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marl.api import TrainResult

CLEARLY = 0.1  # of the return in training


def in_words(result: "TrainResult") -> str:
    """The result for people, in a few lines."""
    from marl.reports.numbers import number_text

    if result.reason == "finished":
        return (
            f"Nothing to do: {result.run} has reached its end ({result.steps:,} steps, {result.seconds:.1f} s, "
            f"{result.episodes:,} episodes); give it a later one, such as --steps. The policy is in {result.weights}."
        )
    head = "Solved" if result.solved else f"Ended ({result.reason})"
    virtual = "" if result.virtual_seconds is None else f" ({result.virtual_seconds:.1f} s of virtual time)"
    parts = [f"{head} after {result.seconds:.1f} s{virtual}, {result.steps:,} steps, {result.episodes:,} episodes"]
    if result.return_mean is not None:
        over = f"the last {result.return_episodes} episodes" if result.return_episodes > 1 else "the only episode"
        parts.append(f"return {number_text(result.return_mean)} over {over} of training")
    parts.append(_evaluation_in_words(result))
    lines = [", ".join(parts) + "."]
    if _earns_less(result):
        lines.append(
            f"Training, where actions are drawn, earned more: see what marl evaluate {result.weights} --sampled "
            "earns; the most likely action alone may run in circles."
        )
    lines.append(f"Run folder {result.run}; the policy is in {result.weights}: marl evaluate {result.weights}")
    return "\n".join(lines)


def _earns_less(result: "TrainResult") -> bool:
    """Whether the kept policy earned clearly less in evaluation than the last ones in training."""
    if result.return_mean is None or result.evaluation_interval is None:
        return False
    return result.return_mean - result.evaluation_interval[1] > CLEARLY * abs(result.return_mean)


def _evaluation_in_words(result: "TrainResult") -> str:
    why = f" ({result.evaluation_lacking})" if result.evaluation_lacking else ""
    if result.evaluation_mean is None or result.evaluation_interval is None:
        return f"not evaluated{why}"
    from marl.reports.numbers import decimals, number_text

    numbers = (result.evaluation_mean, *result.evaluation_interval)
    mean, low, high = (number_text(each, decimals(*numbers)) for each in numbers)
    return f"{mean} over {result.evaluation_episodes} fresh episodes of evaluation{why}, 95 % interval {low} to {high}"


def as_object(result: "TrainResult") -> dict[str, Any]:
    """The result for programs, with the seconds since this process started; JSON can hold all of it."""
    started = _process_started_at()
    first = result.first_update_at
    known = result._asdict()
    if result.virtual_seconds is None:
        del known["virtual_seconds"]
    return {
        **{key: str(value) if isinstance(value, Path) else value for key, value in known.items()},
        "seconds_from_process_start": result.training_ended_at - started,
        "first_update_seconds": None if first is None else first - started,
    }


def _process_started_at() -> float:
    """time.time() at which this process started, as the operating system counts; else, now."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return time.time()
