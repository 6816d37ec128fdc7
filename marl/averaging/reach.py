"""How long a delta of the weights can be, by the number of updates that may be in it."""

import math
from typing import NamedTuple

MOST_UPDATES = 5000.0  # per second and worker: no backward pass is faster
# At least half of the played steps count: if every episode has one step, every second played step is a reset.
PLAYED_PER_STEP = 2.0


class Reach(NamedTuple):
    """Lengths are Euclidean norms of a delta of all weights."""

    usual: float  # of one update while gradients do not grow
    most: float  # of one update, whatever gradients do
    warm_up: float  # n updates of a new optimizer are as long as n + warm_up sqrt(n) usual ones
    per_step: float  # updates for each environment step; infinite: not known
    per_trajectory: float  # updates that a worker may have made from a trajectory that is not counted yet
    lag: float  # by how many updates weights without a gradient, such as a target network, may be behind

    def lengths(self, work: float, workers: int, seconds: float | None) -> tuple[float, float]:
        """How long a delta may be: usually, and at the very most.

        Args:
            work: environment steps.
            seconds: that they may have taken; None in deterministic mode.
        """
        updates = math.inf if seconds is None else MOST_UPDATES * workers * seconds
        if math.isfinite(self.per_step):
            updates = min(updates, PLAYED_PER_STEP * self.per_step * work + self.per_trajectory * workers)
        if math.isinf(updates):
            return math.inf, math.inf
        # The lag: a target network that catches up moves as far as its network has moved meanwhile.
        usual = self.usual * (updates + self.warm_up * math.sqrt(updates) + self.lag)
        return min(usual, self.most * (updates + self.lag)), self.most * (updates + self.lag)

    def trajectory(self) -> float:
        """Environment steps of a trajectory of one worker; 0: not known."""
        known = math.isfinite(self.per_step) and self.per_step > 0
        return (self.per_trajectory - 1.0) / self.per_step if known else 0.0
