"""Turns finished episodes and the workers' counters into one ``Status``, several times a second.

meter, pace = Meter(goal=StopGoal(steps=500_000, solved_return=475.0)), Pace()
while not meter.solved():
    meter.add_episodes(returns, lengths, steps=int(worker_steps.sum()), seconds=seconds)
    speed = pace.look(seconds, worker_steps)
    status = meter.update(seconds, worker_steps, worker_updates, metrics, restarts, speed)
    folder.append_metrics(status)
"""

import math
from collections import deque
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.reports.events import Status
from marl.reports.numbers import exact_text
from marl.reports.pace import Speed
from marl.reports.plots.curve import Curve, Point


class StopGoal(NamedTuple):
    """When training ends: at whichever goal comes first; all None means by hand only."""

    steps: int | None = None
    seconds: float | None = None
    episodes: int | None = None
    solved_return: float | None = None

    def text(self) -> str:
        """The goals in words, such as "until solved (mean return >= 475) or 500,000 steps"."""
        parts = []
        if self.solved_return is not None:
            parts.append(f"solved (mean return >= {exact_text(self.solved_return)})")
        if self.steps is not None:
            parts.append(f"{self.steps:,} steps")
        if self.episodes is not None:
            parts.append(f"{self.episodes:,} episodes")
        if self.seconds is not None:
            minutes = self.seconds / 60.0
            parts.append(f"{round(minutes, 1):,.10g} min" if minutes >= 1.0 else f"{self.seconds:,.10g} s")
        return "until " + (" or ".join(parts) or "stopped by hand")


NO_GOAL = StopGoal()
NO_SPEED = Speed(0.0, ())


class Meter:
    """Remembers the last episodes and counters, so that each update can tell means; and the learning curve."""

    def __init__(self, window: int = 100, goal: StopGoal = NO_GOAL) -> None:
        """``window`` is how many of the last episodes the mean return covers."""
        self._window = window
        self._goal = goal
        self._returns: deque[float] = deque(maxlen=window)
        self._lengths: deque[int] = deque(maxlen=window)
        self._episodes = self._steps = self._updates = 0  # over all resumes
        self._seconds = 0.0
        self._first_mean: float | None = None
        self.curve = Curve()
        self._told: npt.NDArray[np.float64] = np.zeros(2)  # steps and seconds when episodes were added last
        self._start_from_here()

    @property
    def steps(self) -> int:
        """Environment steps by the last update, over all resumes."""
        return self._steps

    @property
    def episodes(self) -> int:
        """Finished episodes, over all resumes."""
        return self._episodes

    @property
    def updates(self) -> int:
        """Optimizer steps by the last update, over all resumes."""
        return self._updates

    @property
    def longest(self) -> int | None:
        """Steps of the longest of the last episodes; None before the first."""
        return max(self._lengths, default=None)

    def add_episodes(
        self, returns: np.ndarray, lengths: np.ndarray, *, steps: int | None = None, seconds: float | None = None
    ) -> None:
        """Count finished episodes, oldest first; both arrays are [episodes].

        Args:
            steps: environment steps since this start, and ``seconds`` of training over all resumes, by now; None: as at
                the last update. The curve takes it that the episodes ended evenly since the last call.
        """
        now = self._steps if steps is None else self._base_steps + steps, self._seconds if seconds is None else seconds
        before, self._told = self._told, np.maximum(self._told, now)
        moments = np.linspace(before, self._told, len(returns) + 1)[1:]  # [episodes, 2]
        done = 0
        while done < len(returns):
            until = 1 + int(np.searchsorted(moments[:, 0], self.curve.due))
            self._returns.extend(np.asarray(returns[done:until], np.float64).tolist())
            self._lengths.extend(np.asarray(lengths[done:until], np.int64).tolist())
            if until <= len(returns):
                at, then = moments[until - 1].tolist()
                self.curve.add(Point(int(at), then, float(np.mean(self._returns)), float(np.std(self._returns))))
            done = until
        self._episodes += len(returns)

    def update(
        self,
        seconds: float,
        worker_steps: np.ndarray,
        worker_updates: np.ndarray,
        metrics: dict[str, float],
        restarts: int,
        speed: Speed = NO_SPEED,
    ) -> Status:
        """Count up to now.

        Args:
            seconds: training time, over all resumes.
            worker_steps: [workers], each worker's environment steps since this start.
            worker_updates: [workers], each worker's gradient updates since this start.
            metrics: the latest losses and such; copied.
            restarts: workers that were started again since this start.
            speed: as the reader's own ``Pace`` measures it.
        """
        self._seconds = float(seconds)
        self._steps = self._base_steps + int(np.sum(worker_steps))
        self._updates = self._base_updates + int(np.sum(worker_updates))
        return_mean = _mean(self._returns)
        if self._first_mean is None and return_mean is not None and math.isfinite(return_mean):
            self._first_mean = return_mean
        return Status(
            seconds=self._seconds,
            steps=self._steps,
            episodes=self._episodes,
            updates=self._updates,
            steps_per_second=speed.total,
            return_mean=return_mean,
            return_std=float(np.std(self._returns)) if self._returns else None,
            length_mean=_mean(self._lengths),
            window_filled=len(self._returns),
            metrics={name: float(value) for name, value in metrics.items()},
            worker_rates=speed.workers,
            progress=self._progress(return_mean),
            stop_text=self._goal.text(),
            seconds_left=self._seconds_left(),
            restarts=int(restarts),
        )

    def solved(self) -> bool:
        """Whether the window is full and its mean return reaches the goal's ``solved_return``."""
        threshold = self._goal.solved_return
        mean = _mean(self._returns)
        return threshold is not None and self._full() and mean is not None and mean >= threshold

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as of the last update; ready for JSON."""
        return {
            "returns": list(self._returns),
            "lengths": list(self._lengths),
            "episodes": self._episodes,
            "steps": self._steps,
            "updates": self._updates,
            "seconds": self._seconds,
            "first_mean": self._first_mean,
            "curve": {"spacing": self.curve.spacing, "points": [_short(point) for point in self.curve.points]},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state``; the counters given to ``update`` begin at zero again."""
        self._returns = deque(state["returns"], maxlen=self._window)
        self._lengths = deque(state["lengths"], maxlen=self._window)
        self._episodes = state["episodes"]
        self._steps = state["steps"]
        self._updates = state["updates"]
        self._seconds = state["seconds"]
        self._first_mean = state["first_mean"]
        curve = state.get("curve", {"spacing": 1, "points": []})  # earlier versions saved none
        self.curve = Curve((Point(*point) for point in curve["points"]), curve["spacing"])
        self._start_from_here()

    def _start_from_here(self) -> None:
        self._base_episodes = self._episodes
        self._base_steps = self._steps
        self._base_updates = self._updates
        self._base_seconds = self._seconds
        self._told = np.array([self._steps, self._seconds], np.float64)

    def _progress(self, return_mean: float | None) -> float | None:
        goal = self._goal
        fractions = []
        if goal.steps is not None:
            fractions.append(_fraction(self._steps, goal.steps))
        if goal.seconds is not None:
            fractions.append(_fraction(self._seconds, goal.seconds))
        if goal.episodes is not None:
            fractions.append(_fraction(self._episodes, goal.episodes))
        if goal.solved_return is not None:
            fractions.append(self._solved_fraction(return_mean, goal.solved_return))
        return max(fractions, default=None)

    def _solved_fraction(self, return_mean: float | None, threshold: float) -> float:
        if return_mean is None or self._first_mean is None or not math.isfinite(return_mean):
            return 0.0
        # A few lucky episodes are not yet a solved run: the window must fill as well.
        filled = len(self._returns) / self._window
        if return_mean >= threshold:
            return filled
        if self._first_mean >= threshold:
            return 0.0
        return min(filled, _fraction(return_mean - self._first_mean, threshold - self._first_mean))

    def _seconds_left(self) -> float | None:
        goal, now_seconds = self._goal, self._seconds - self._base_seconds
        estimates = []
        if goal.seconds is not None:
            estimates.append(max(goal.seconds - self._seconds, 0.0))
        if goal.steps is not None and self._steps > self._base_steps:
            seconds_per_step = now_seconds / (self._steps - self._base_steps)
            estimates.append(max(goal.steps - self._steps, 0) * seconds_per_step)
        if goal.episodes is not None and self._episodes > self._base_episodes:
            seconds_per_episode = now_seconds / (self._episodes - self._base_episodes)
            estimates.append(max(goal.episodes - self._episodes, 0) * seconds_per_episode)
        return min(estimates, default=None)

    def _full(self) -> bool:
        return len(self._returns) == self._window


def _mean(values: deque[float] | deque[int]) -> float | None:
    return float(np.mean(values)) if values else None


def _fraction(done: float, goal: float) -> float:
    return 1.0 if goal <= 0 else min(max(done / goal, 0.0), 1.0)


def _short(point: Point) -> tuple[int, float, float, float]:
    """A point in few letters: a checkpoint holds hundreds."""
    steps, seconds, *numbers = point
    return steps, round(seconds, 3), *(float(f"{number:.6g}") for number in numbers)  # type: ignore[return-value]
