"""What each run of a study came to, read from its run folder: nothing else remembers it."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.reports.plots.curve import column
from marl.reports.run_folder import RunFolder
from marl.studies.place import end_of, latest_run
from marl.studies.plan import Planned

WINDOW = 100  # episodes over which training counts as solved


class Curve(NamedTuple):
    """A run's mean return over its length, only where there is one."""

    steps: npt.NDArray[np.float64]  # [points], rising
    seconds: npt.NDArray[np.float64]  # [points], rising; virtual ones where the study counts those
    returns: npt.NDArray[np.float64]  # [points]


class Result(NamedTuple):
    """One run that has ended; what it was not solved within is what it took in all."""

    score: float  # mean return of the final evaluation, or of the last training episodes where there was none
    evaluated: bool  # whether the score is an evaluation's
    reason: str
    solved: bool
    steps: int
    seconds: float  # of training
    solved_steps: float  # until solved; of a run that was not solved, in all: it is censored there
    solved_seconds: float  # virtual ones where the study counts those
    cores: int | None  # that the run could use
    curve: Curve
    virtual_seconds: float | None = None  # of training


class Row(NamedTuple):
    """One cell and seed, whatever is there."""

    planned: Planned
    run: Path | None  # folder
    result: Result | None  # None: it has not ended

    @property
    def state(self) -> str:
        """In one word."""
        return "finished" if self.result is not None else "missing" if self.run is None else "unfinished"


def read_row(planned: Planned) -> Row:
    """How far one run is.

    Raises:
        RunFolderError: a file of it exists and cannot be read.
    """
    run = latest_run(planned.place)
    if run is None:
        return Row(planned, None, None)
    ended = end_of(run)
    return Row(planned, run.path, None if ended is None else _result(planned, run, ended))


def _result(planned: Planned, run: RunFolder, ended: dict[str, Any]) -> Result:
    virtual = planned.config.clock.virtual
    curve = _curve(run, virtual=virtual)
    evaluation = ended.get("evaluation")
    score = _number(evaluation.get("mean")) if isinstance(evaluation, dict) else math.nan
    evaluated = not math.isnan(score)
    if not evaluated and curve.returns.size:
        score = float(curve.returns[-1])
    steps, seconds = _number(ended.get("steps")), _number(ended.get("seconds"))
    virtual_seconds = _number(ended.get("virtual_seconds")) if virtual else None
    solved_seconds = seconds if virtual_seconds is None else virtual_seconds
    solved, solved_steps = ended["reason"] == "solved", steps
    threshold = planned.config.environment.solved_return
    if not planned.config.stop.solved and threshold is not None:  # it went on: look when training was there
        reached = np.flatnonzero((curve.returns >= threshold) & (curve.steps >= _full_from(run)))
        if reached.size:
            first = int(reached[0])
            solved, solved_steps, solved_seconds = True, float(curve.steps[first]), float(curve.seconds[first])
    hardware = run.read_facts().get("hardware")
    cores = hardware.get("usable_cores") if isinstance(hardware, dict) else None
    return Result(
        score,
        evaluated,
        ended["reason"],
        solved,
        int(steps) if steps == steps else 0,
        seconds,
        solved_steps,
        solved_seconds,
        cores if isinstance(cores, int) else None,
        curve,
        virtual_seconds,
    )


def _curve(run: RunFolder, *, virtual: bool) -> Curve:
    rows = run.read_curve()
    steps, seconds, returns = (column(rows, name) for name in ("steps", "seconds", "return_mean"))
    if virtual:
        seconds = _in_virtual_time(seconds, run)
    known = np.isfinite(steps) & np.isfinite(seconds) & np.isfinite(returns)
    steps, seconds, returns = steps[known], seconds[known], returns[known]
    # Interpolation needs rising positions, and clocks of several processes may differ by a little.
    return Curve(np.maximum.accumulate(steps), np.maximum.accumulate(seconds), returns)


def _in_virtual_time(seconds: npt.NDArray[np.float64], run: RunFolder) -> npt.NDArray[np.float64]:
    """Virtual seconds at these real ones, evenly between two lines of metrics; NaN if there are none."""
    rows = run.read_metrics()
    real, virtual = column(rows, "seconds"), column(rows, "virtual_seconds")
    known = np.isfinite(real) & np.isfinite(virtual)
    if not known.any():
        return np.full_like(seconds, np.nan)
    found: npt.NDArray[np.float64] = np.interp(seconds, np.append(0.0, real[known]), np.append(0.0, virtual[known]))
    return found


def _full_from(run: RunFolder) -> float:
    """Steps from which on the mean return is that of as many episodes as solving takes."""
    rows = run.read_metrics()
    full = column(rows, "steps")[column(rows, "window_filled") >= WINDOW]
    return float(full[0]) if full.size else math.inf


def _number(value: Any) -> float:
    return float(value) if type(value) in (int, float) else math.nan
