"""When weights are evaluated, and what follows: which are kept, whether the run is solved, its final returns."""

import math
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from marl.acting.evaluate import MAX_EPISODE_STEPS, Played, episode_limit
from marl.cluster.runs.checkpoint_manager import CheckpointManager
from marl.cluster.runs.evaluator import Evaluator, Score, parallel, score_of
from marl.cluster.snapshot import Snapshot
from marl.config.settings import Config
from marl.data.spaces import Spaces
from marl.errors import WorkerFailed
from marl.processes.group import Failure, ProcessGroup
from marl.reports.events import Evaluated
from marl.reports.meter import Meter
from marl.reports.plots.distribution import Summary, summarize
from marl.words import saved

TICK = 0.02  # seconds between two looks at what is going on
REST = 4.0  # of the time that an evaluation took: it plays on a core that workers would use
# Limit of all evaluation after training: LAST_S seconds plus LAST_SHARE of the training time, capped at LAST_MOST_S.
LAST_S, LAST_SHARE, LAST_MOST_S = 3.0, 0.05, 60.0
# In deterministic mode, nothing may depend on time: a number of environment steps limits each evaluation. In the
# final evaluation, it limits all sets together.
LAST_STEPS, LAST_STEPS_SHARE = 50_000, 0.1


class Final(NamedTuple):
    """Returns of the kept weights in the final episodes, which had no part in choosing these weights."""

    summary: Summary | None
    lacking: str  # why there are fewer episodes than wanted, or none; "" if nothing is lacking


class Evaluation:
    """Gives the evaluator work, counts its failures, and uses its scores."""

    def __init__(
        self,
        config: Config,
        spaces: Spaces,
        group: ProcessGroup,
        checkpoints: CheckpointManager,
        meter: Meter,
        *,
        note: Callable[[str], None],
        log: Callable[[str], None],
        tell: Callable[[Evaluated], None] = lambda unused: None,
    ) -> None:
        """
        Args:
            note: takes a line for the user, ``log`` the traceback of an evaluator that failed.
            tell: takes each score.
        """
        self.evaluator = Evaluator(config, spaces, group)
        self.solved = False  # training has reached the threshold, and so have the kept weights
        self.solved_at: float | None = None  # time.time() when training's mean return rose to the threshold
        self._config, self._group, self._checkpoints, self._meter = config, group, checkpoints, meter
        self._note, self._log, self._tell = note, log, tell
        self._failures = 0  # in a row
        self._ever = False  # whether it has answered at all
        self._broken = ""  # why there is no evaluation any more
        self._over = False  # training is over: an evaluator that fails now does not change how the run ends
        self._told_cut = False
        self._asked_at, self._due_at = 0.0, math.inf

    def begin(self) -> None:
        """Training starts now."""
        self._due_at = time.monotonic() + self._config.evaluation.every_seconds

    @property
    def decides(self) -> bool:
        """Whether an evaluation, not training alone, says what is solved."""
        return self._config.evaluation.episodes > 0

    def collect(self) -> None:
        """Use the evaluator's answer, if one has come.

        Raises:
            WorkerFailed: the evaluator keeps failing, in a deterministic run or in one that ends only when solved.
        """
        score = self.evaluator.score()
        if score is not None:
            now = time.monotonic()
            self._due_at = max(self._due_at, now + REST * (now - self._asked_at))
        self._take_score(score)
        self._check()

    def offer(self, snapshot: Callable[[], Snapshot]) -> bool:
        """Give the evaluator new weights if it is free and an evaluation is due. True if it was given some.

        Raises:
            WorkerFailed: as for ``collect``.
        """
        self.collect()
        if self.evaluator.busy or self.solved or not self.decides:
            return False
        now = time.monotonic()
        if not self._meter.solved():
            self.solved_at = None
        elif self.solved_at is None:
            self.solved_at = time.time()
        if self._broken or (not self.solved_at and (now < self._due_at or not self._meter.episodes)):
            return False
        self._asked_at, self._due_at = now, now + self._config.evaluation.every_seconds
        self.evaluator.submit(snapshot(), limit=self._limit())
        return True

    def wait_for(self, snapshot: Snapshot, stopped: threading.Event, max_steps: int | None = None) -> bool:
        """Evaluate these weights now, and again whenever the evaluator dies meanwhile. True if this was completed.

        Raises:
            WorkerFailed: the evaluator keeps failing.
        """
        played = self._played(snapshot, {"max_steps": max_steps}, stopped, math.inf)
        self._take_score(None if played is None else score_of(snapshot, played, self._limit()))
        return played is not None

    def last(self, snapshot: Snapshot, stopped: threading.Event, deadline: float) -> None:
        """Training is over, and its last weights may be the best: evaluate them by ``deadline``, or say that there was
        no time.
        """
        if not self.decides or not self._meter.episodes or stopped.is_set() or self._broken:
            return
        episodes = self._config.evaluation.episodes
        self._over = True
        if self._config.deterministic:
            max_steps = _last_steps(snapshot.steps)
            done = self.wait_for(snapshot, stopped, max_steps)
            if not done and not stopped.is_set() and not self._broken:
                self._note(f"the last weights were not evaluated: {episodes} episodes take over {max_steps:,} steps")
            return
        begun = time.monotonic()
        if self._await(stopped, deadline) and time.monotonic() < deadline:
            self.evaluator.submit(snapshot, limit=self._limit())
            if self._await(stopped, deadline):
                return
        if not stopped.is_set() and not self._broken:
            within = max(0.0, deadline - begun)
            self._note(f"the last weights were not evaluated: {episodes} episodes were not over within {within:.1f} s")

    def final(self, last: Snapshot, stopped: threading.Event, deadline: float) -> Final:
        """Play the final episodes of the kept weights, with seeds that no earlier evaluation used.

        In a set of episodes, each environment plays one, all at the same time. Only whole sets count: leaving out long
        episodes would bias the result.
        """
        wanted = self._config.evaluation.final_episodes
        if not self.decides or not wanted:
            return Final(None, f"evaluation.{'final_episodes' if self.decides else 'episodes'} is 0")
        kept = last if self._checkpoints.best is None else self._checkpoints.best.snapshot
        max_steps = _last_steps(last.steps) if self._config.deterministic else None
        self._over, begun = True, time.monotonic()
        deadline = math.inf if max_steps is not None else deadline
        while self.evaluator.busy and not stopped.is_set() and time.monotonic() < deadline:
            self.evaluator.played(TICK)  # drop the late answer to an earlier request
            self._check()
        sets: list[Played] = []
        num_played, left = 0, max_steps
        while num_played < wanted:
            count = min(parallel(self._config), wanted - num_played)
            request = {"episodes": count, "seed_set": 1 + len(sets), "max_steps": left}
            played = self._played(kept, request, stopped, deadline)
            if played is None:
                break
            sets.append(played)
            num_played += count
            left = None if left is None else left - played.steps
        lacking = "" if num_played >= wanted else self._lacking(stopped, max_steps, deadline - begun)
        if not sets:
            return Final(None, lacking)
        returns = np.concatenate([played.returns for played in sets])
        return Final(summarize(returns, cut=sum(played.cut for played in sets)), lacking)

    def _played(
        self, snapshot: Snapshot, request: dict[str, Any], stopped: threading.Event, deadline: float
    ) -> Played | None:
        """The answer to a request, which is repeated if the evaluator dies; None if there will be no answer."""
        while not stopped.is_set() and not self._broken and time.monotonic() < deadline:
            if not self.evaluator.busy:
                self.evaluator.submit(snapshot, limit=self._limit(), **request)
            played = self.evaluator.played(TICK)
            self._check()
            if played is not None:
                return played
            if not self.evaluator.busy and Evaluator.NAME in self._group.members:  # alive, but without a result
                return None
        return None

    def _limit(self) -> int | None:
        """Steps after which an episode is cut. In deterministic mode always the same: when training episodes are
        counted depends on time.
        """
        return None if self._config.deterministic else episode_limit(self._meter.longest)

    def _lacking(self, stopped: threading.Event, max_steps: int | None, seconds: float) -> str:
        if stopped.is_set():
            return "stopped"
        if self._broken:
            return self._broken
        if max_steps is not None:
            return f"they take more than {max_steps:,} steps"
        return f"they take longer than {max(0.0, seconds):.1f} s"

    def _await(self, stopped: threading.Event, deadline: float) -> bool:
        """Wait for the answer that is under way. True if the evaluator is free then."""
        while self.evaluator.busy and not stopped.is_set() and time.monotonic() < deadline:
            self._take_score(self.evaluator.score(TICK))
            self._check()
        return not self.evaluator.busy and not stopped.is_set() and not self._broken

    def _take_score(self, score: Score | None) -> None:
        if score is None:
            return
        self._ever, self._failures = True, 0
        count = self._config.evaluation.episodes
        self._tell(Evaluated(steps=score.snapshot.steps, mean=score.mean, std=score.std, episodes=count))
        if score.cut and not self._told_cut:
            self._told_cut = True
            after = MAX_EPISODE_STEPS if score.limit is None else score.limit
            unended = f"{score.cut} of {count} evaluation episodes did not end by themselves"
            self._note(f"{unended} and were cut after {after:,} steps")
        threshold = self._config.environment.solved_return if self._config.stop.solved else None
        self.solved = threshold is not None and score.mean >= threshold and self._meter.solved()
        self._checkpoints.keep_if_best(score, keep_anyway=self.solved)

    def _check(self) -> None:
        """If the evaluator has died, count it: the next weights restart it, up to ``node.max_restarts`` times."""
        for _, failure in self._group.check(Evaluator.NAME):
            self.evaluator.forget()
            if failure.trace:
                self._log(failure.trace)
            hopeless = failure.repeats or (failure.permanent and not self._ever)
            if self._failures >= self._config.node.max_restarts or hopeless:
                self._give_up(failure)
                return
            self._failures += 1
            self._note(f"evaluator died ({failure.text}) and is started again")

    def _give_up(self, failure: Failure) -> None:
        stop = self._config.stop
        after = f" after {self._failures} restarts" if self._failures else ""
        self._broken = f"{failure.text} (the evaluator{after})"
        only_solved = stop.steps is stop.minutes is stop.episodes is None
        if not self._over and (self._config.deterministic or only_solved):
            raise WorkerFailed(f"{self._broken[:-1]}{saved(self._meter.updates)})")
        goes_on = "" if self._over else "; training goes on to its other end"
        self._note(f"weights are evaluated no more: {self._broken}{goes_on}")


def patience(seconds: float) -> float:
    """Seconds for all evaluation after training, if training took ``seconds``."""
    return min(LAST_S + LAST_SHARE * seconds, LAST_MOST_S)


def _last_steps(steps: int) -> int:
    return LAST_STEPS + int(LAST_STEPS_SHARE * steps)
