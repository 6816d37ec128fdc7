"""Who lies, of two children whose changes of the weights go against each other: what each alone makes of them tells.

No comparison of uploads can tell that where there are only two, and episodes with the weights of one upload tell
little: a round is short. So each of the two trains alone for some rounds, while nothing of the other is merged, and the
parent plays episodes with the weights before and after. Honest learning earns more in time, or as much. Who makes the
weights lose half of what they had gained is named and left out, and they go back to what they were.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from marl.cluster.evaluator import Evaluator, Verdict
from marl.cluster.snapshot import Snapshot
from marl.config.settings import Config
from marl.data.spaces import Spaces
from marl.exchanges.base import Global
from marl.exchanges.merging_parent import MergingParent
from marl.processes.group import ProcessGroup

ROUNDS = 8  # that a child trains alone; as many uploads where there are no rounds
PATIENCE_S = 300.0  # for these: somebody may be gone
CLEARLY = 3.0  # standard errors
MOST_TRIALS = 4
PEACE_S = 60.0  # after a case that named nobody


class Auditor(Evaluator):
    """A process of its own, which is started when there is something to judge: the run's evaluation goes on."""

    NAME = "auditor"


class Kept(NamedTuple):
    """Weights, and what they earn."""

    weights: Global
    earns: Verdict


class Audit:
    """One case after another, each in many calls of ``tend``."""

    def __init__(
        self, config: Config, spaces: Spaces, group: ProcessGroup, side: MergingParent, note: Callable[[str], None]
    ) -> None:
        self._auditor, self._group, self._side, self._note = Auditor(config, spaces, group), group, side, note
        self._episodes = config.evaluation.episodes
        self._pair: tuple[str, ...] = ()
        self._kept: Kept | None = None  # the best weights of this case
        self._played: Global | None = None  # the weights that are being played
        self._trial, self._until_version, self._until = 0, 0, 0.0
        self._lowest = math.inf
        self._calm_until = 0.0

    def tend(self) -> None:
        """Go on with the case; never waits."""
        if not self._pair:
            if self._episodes and time.monotonic() >= self._calm_until:
                self._pair = self._side.opposed()
                if self._pair:
                    first, second = self._pair
                    self._note(f"what {first} and {second} upload goes against each other: each is tried alone")
                    self._play()
        elif self._played is not None:
            verdict = self._auditor.verdict()
            self._group.check(Auditor.NAME)
            if verdict is not None:
                self._hear(Kept(self._played, verdict))
            elif not self._auditor.busy:
                self._play()  # it died, and plays again
        elif self._side.current.version >= self._until_version:
            self._play()
        elif time.monotonic() >= self._until:
            self._close()

    def _play(self) -> None:
        self._played = current = self._side.current
        tensors = {"weights": current.weights}
        if current.slot is not None:
            tensors["observations"] = current.slot[None]
        self._auditor.submit(Snapshot(tensors, 0, 0))

    def _hear(self, now: Kept) -> None:
        """The weights before all trials, or after one."""
        self._played = None
        self._lowest = min(self._lowest, now.earns.mean)
        before, self._kept = self._kept, now
        if before is not None:
            tried, other = self._pair
            if self._is_ruined(before.earns, now.earns):
                self._side.go_back(before.weights)
                self._close()
                return self._side.accuse(
                    tried,
                    f"with its uploads alone, weights that earned {before.earns.mean:.4g} came to earn "
                    f"{now.earns.mean:.4g}",
                )
            self._side.take_back(other)
            self._pair = other, tried
            self._trial += 1
            improved = now.earns.mean > before.earns.mean
            if not improved:  # the other begins where this one did, not with what a liar may have left
                self._side.go_back(before.weights)
                self._kept = before
            if self._trial >= MOST_TRIALS or (self._trial >= 2 and not improved):
                return self._close()
        self._side.set_aside(self._pair[1])
        self._until_version, self._until = self._side.current.version + ROUNDS, time.monotonic() + PATIENCE_S

    def _is_ruined(self, before: Verdict, now: Verdict) -> bool:
        error = math.sqrt((before.std**2 + now.std**2) / self._episodes)
        return before.mean - now.mean > max(CLEARLY * error, (before.mean - self._lowest) / 2)

    def _close(self) -> None:
        for child in self._pair:
            self._side.take_back(child)
        self._pair, self._kept, self._played, self._trial = (), None, None, 0
        self._calm_until = time.monotonic() + PEACE_S
