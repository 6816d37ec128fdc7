"""Trials find out which of two children poisons the weights, if their deltas oppose each other.

With two children, a comparison of uploads cannot tell which one is poisoned. Episodes with the weights of one upload
tell little, because a round is short. So each child trains alone for some rounds. This is a trial: nothing of the other
child is merged meanwhile, and the parent plays episodes with the weights before and after it. The first trial begins at
once, even if the process that plays the episodes has not started yet: opposed uploads would only cancel each other.

Honest training raises the return sooner or later, or keeps it. A bad trial is one in which the weights lose most of
their gain. A child is quarantined after bad trials in a row, if a trial of the other child was not bad. Then the
weights go back to those before the trial. If the weights are already ruined before the first trial, they go back to the
best weights. Trials that start from ruined weights would show nothing: honest training gains as little from there as
poisoned uploads.
"""

import dataclasses
import math
import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from marl.cluster.runs.evaluator import Evaluator, Score
from marl.cluster.snapshot import Snapshot
from marl.config.settings import Config
from marl.data.spaces import Spaces
from marl.exchanges.sides import Audited, Global, Standing
from marl.processes.group import ProcessGroup

ROUNDS = 8  # of one trial; in an exchange without rounds: uploads
# A trial waits for each round: PATIENCE_S seconds plus the time of USUAL_ROUNDS usual rounds, at most LONGEST_S.
PATIENCE_S, USUAL_ROUNDS, LONGEST_S = 5.0, 3.0, 60.0
STRIKES = 2  # bad trials of a child in a row, after which it is quarantined
PLAY_S, MOST_DEATHS = 300.0, 3  # seconds for one evaluation; processes that may end without a result
# Weights are ruined if the mean return falls by more than CLEARLY standard errors, and by more than the share RUINED of
# what they had gained. Honest training may lose half of its gain.
CLEARLY, RUINED = 3.0, 0.75
MOST_TRIALS = 6
PEACE_S = 2.0  # seconds from a case without a quarantine to the next case; doubled after each such case
LONG_PEACE_S = 600.0  # seconds until the next case, after one that could not be decided


class Auditor(Evaluator):
    """Plays the episodes of trials in a process of its own, so that the run's evaluation goes on meanwhile.

    Actions are sampled, as in training. Early in a run, the return of a policy's most likely actions is mostly luck.
    """

    NAME = "auditor"

    def __init__(self, config: Config, spaces: Spaces, group: ProcessGroup) -> None:
        drawn = dataclasses.replace(config.evaluation, greedy=False)
        super().__init__(dataclasses.replace(config, evaluation=drawn), spaces, group)


class Kept(NamedTuple):
    """Weights, and their returns."""

    weights: Global
    earns: Score


class Audit:
    """Decides cases, one after another. A case begins when two children oppose each other. ``tend`` works on it."""

    def __init__(
        self,
        config: Config,
        spaces: Spaces,
        group: ProcessGroup,
        side: Audited,
        *,
        note: Callable[[str], None],
        log: Callable[[str], None],
    ) -> None:
        """
        Args:
            note: takes a line for the user, ``log`` the traceback of an auditor that failed.
        """
        self._auditor, self._group, self._side = Auditor(config, spaces, group), group, side
        self._note, self._log = note, log
        self._episodes = config.evaluation.episodes
        self._pair: tuple[str, ...] = ()
        self._first = side.current  # the weights at the start of the run
        self._best: Kept | None = None  # of all weights that were evaluated
        self._began = self._first  # the weights at the start of the case
        self._kept: Kept | None = None  # the best weights of this case; None until those at its start are evaluated
        self._played: Global | None = None  # the weights that are being evaluated
        self._trial, self._silent, self._deaths = 0, 0, 0
        self._strikes: dict[str, int] = {}
        self._cleared: set[str] = set()  # children with a trial that ruined nothing
        self._first_version, self._version, self._until, self._played_until = 0, 0, 0.0, 0.0
        self._pace = Pace()
        self._lowest = math.inf
        self._calm_until, self._peace = 0.0, PEACE_S

    def tend(self) -> None:
        """Go on with the case; never waits."""
        score = self._auditor.score()  # without a case, this drops the late score of a case that was given up
        self._check()
        if not self._pair:
            self._look()
            return
        if self._played is not None:
            self._await_score(score)
        if self._pair and (self._played is None or self._kept is None):
            self._watch_trial()

    def _check(self) -> None:
        """Tell of an auditor that has died. Until it leaves the group, every wait of the run ends at once."""
        for _, failure in self._group.check(Auditor.NAME):
            if failure.trace:
                self._log(failure.trace)
            self._note(f"{Auditor.NAME} died ({failure.text}); it is started again when weights are to be played")

    def _look(self) -> None:
        """Begin a case if two children oppose each other."""
        now = time.monotonic()
        self._pace.see(self._side.current.version, now)
        if self._episodes and not self._auditor.busy and now >= self._calm_until:
            self._pair = self._side.opposed()
            if self._pair:
                first, second = self._pair
                self._note(f"what {first} and {second} upload goes against each other: each is tried alone")
                self._began = self._side.current
                self._play(self._first if self._best is None else self._began)
                self._try()  # at once, although the auditor may still have to start

    def _await_score(self, score: Score | None) -> None:
        assert self._played is not None
        if score is not None:
            self._deaths = 0
            self._hear(Kept(self._played, score))
        elif self._auditor.busy:
            if time.monotonic() >= self._played_until:
                self._give_up(f"no evaluation of their weights ended within {PLAY_S:.0f} s")
        elif self._deaths + 1 < MOST_DEATHS:
            self._deaths += 1
            self._play(self._played)
        else:
            self._give_up(f"the evaluation of their weights failed {MOST_DEATHS} times")

    def _give_up(self, reason: str) -> None:
        first, second = self._pair
        self._note(f"{first} and {second} cannot be evaluated, and go on: {reason}")
        self._close(LONG_PEACE_S)

    def _watch_trial(self) -> None:
        """End the trial once the child has made its rounds, is gone or quarantined, or has been silent for too long."""
        version, now, tried = self._side.current.version, time.monotonic(), self._pair[0]
        standing = self._side.standing(tried)
        if version >= self._first_version + ROUNDS:
            self._play_trial()
        elif standing is Standing.GONE:
            self._close(0.0)  # no evidence; the case begins again when both children are there
        elif standing is Standing.QUARANTINED:
            self._close()
        elif version > self._version:
            self._version, self._until = version, now + self._pace.patience()
        elif now >= self._until:
            if version > self._first_version:
                return self._play_trial()  # fewer rounds are evidence, too
            self._silent += 1
            if self._silent < STRIKES:  # a single silence may be chance
                return self._try()
            self._accuse(tried, "when it was to train alone, nothing came of it")

    def _accuse(self, child: str, reason: str) -> None:
        self._close(self._peace)
        self._peace = PEACE_S
        self._side.accuse(child, reason)

    def _try(self) -> None:
        """Begin a trial: the first of the pair trains alone."""
        self._side.set_aside(self._pair[1])
        self._first_version = self._version = self._side.current.version
        self._until = time.monotonic() + self._pace.patience()

    def _play_trial(self) -> None:
        """Evaluate the weights after the trial. The trial goes on if the weights before it are not evaluated yet."""
        if self._kept is not None:
            self._play(self._side.current)

    def _play(self, weights: Global) -> None:
        """Start an evaluation of weights."""
        self._played = weights
        tensors = {"weights": weights.weights}
        if weights.statistics is not None:
            tensors["observations"] = weights.statistics[None]
        self._auditor.submit(Snapshot(tensors, 0, 0))
        self._played_until = time.monotonic() + PLAY_S

    def _hear(self, now: Kept) -> None:
        """Use the evaluation of the weights before all trials, or after one trial."""
        self._played = None
        self._lowest = min(self._lowest, now.earns.mean)
        best = self._best
        if best is None or now.earns.mean > best.earns.mean:
            self._best = now
        if best is None:
            return self._play(self._began)  # the score was that of the run's first weights
        before, self._kept = self._kept, now
        if before is None:
            if self._is_ruined(best.earns, now.earns):
                self._side.go_back(best.weights)
                self._kept = best
                self._try()
            return
        self._silent = 0
        tried, other = self._pair
        ruined = self._is_ruined(before.earns, now.earns)
        self._strikes[tried] = self._strikes.get(tried, 0) + 1 if ruined else 0
        if not ruined:
            self._cleared.add(tried)
        improved = now.earns.mean > before.earns.mean
        if not improved:  # the other child must not start from weights that may be poisoned
            self._side.go_back(before.weights)
            self._kept = before
        for child, beside in (tried, other), (other, tried):
            # Early in a run, honest training may ruin its weights, too. Then the trials of both children are bad.
            if self._strikes.get(child, 0) >= STRIKES and beside in self._cleared:
                return self._accuse(
                    child,
                    f"with its uploads alone, weights that earn {before.earns.mean:.4g} came to earn far less, "
                    f"{STRIKES} times",
                )
        self._side.take_back(other)
        self._pair = other, tried
        self._trial += 1
        calm = not any(self._strikes.values())
        if self._trial >= MOST_TRIALS or (self._trial >= 2 and not improved and calm):
            return self._close()
        self._try()

    def _is_ruined(self, before: Score, now: Score) -> bool:
        error = math.sqrt((before.std**2 + now.std**2) / self._episodes)
        return before.mean - now.mean > max(CLEARLY * error, RUINED * (before.mean - self._lowest))

    def _close(self, peace: float | None = None) -> None:
        """End the case. ``peace``: seconds until the next one; None: as after a case without a quarantine."""
        if peace is None:
            peace, self._peace = self._peace, min(2 * self._peace, LONG_PEACE_S)
        for child in self._pair:
            self._side.take_back(child)
        self._pair, self._kept, self._played = (), None, None
        self._trial = self._silent = self._deaths = 0
        self._strikes.clear()
        self._cleared.clear()
        self._calm_until = time.monotonic() + peace
        self._pace.rest()


class Pace:
    """How long rounds take while there is no trial."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=11)
        self._last: tuple[int, float] | None = None

    def see(self, version: int, now: float) -> None:
        """Measure rounds by the newest version; call this often."""
        if self._last is None:
            self._last = version, now
        elif version > self._last[0]:
            self._seconds.append((now - self._last[1]) / (version - self._last[0]))
            self._last = version, now

    def rest(self) -> None:
        """Leave out the versions since the last call of ``see``: they came from trials."""
        self._last = None

    def patience(self) -> float:
        """How many seconds to wait for a round of a child that trains alone."""
        usual = statistics.median(self._seconds) if self._seconds else LONGEST_S
        return min(LONGEST_S, PATIENCE_S + USUAL_ROUNDS * usual)
