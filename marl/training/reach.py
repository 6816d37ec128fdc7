"""How far learning can move the weights, by what the settings say and without looking at any weights.

One update of Adam moves a number by ``rate * |m| / sqrt(v)``, and v is a mean of squares over a longer time than m is a
mean: ``|m| <= sqrt(v)`` where gradients stay as large as they were (Kingma and Ba, "Adam", section 2.1), and by
Cauchy's inequality ``|m| <= sqrt(v) (1 - b1) / sqrt((1 - b2) (1 - b1^2 / b2))`` whatever they do. RMSProp divides by a
root that starts at 0: update t is at most ``rate / sqrt(1 - a^t)`` where gradients stay as large, and never more than
``rate / sqrt(1 - a)``. Each is times sqrt(P) for all P numbers. SGD moves all of them by ``rate`` times the gradient's
length, which is cut, and momentum repeats that ``1 / (1 - m)`` times.
"""

import math
from typing import NamedTuple

from marl.algorithms.base import Algorithm
from marl.training.optimizers import OptimizerSettings

MOST_UPDATES = 5000.0  # a second, of one worker: no backward pass is shorter
# Steps that count are at least every second of those played: where every episode has one step, each other is a reset.
PLAYED_PER_STEP = 2.0


class Reach(NamedTuple):
    """Lengths are Euclidean norms of a change of all weights."""

    usual: float  # of one update where gradients stay as large as they were
    most: float  # of one update, whatever gradients do
    warm_up: float  # n updates of a new optimizer are as long as n + warm_up sqrt(n) usual ones
    per_step: float  # updates for each environment step; infinite: not known
    per_trajectory: float  # updates that a worker may have made of a trajectory which its steps do not count yet
    lag: float  # updates by which what no gradient moves, such as a target network, may be behind

    def lengths(self, work: float, workers: int, seconds: float | None) -> tuple[float, float]:
        """How long a change may be: usually, and at the very most.

        Args:
            work: environment steps.
            seconds: that they may have taken; None in deterministic mode.
        """
        updates = math.inf if seconds is None else MOST_UPDATES * workers * seconds
        if math.isfinite(self.per_step):
            updates = min(updates, PLAYED_PER_STEP * self.per_step * work + self.per_trajectory * workers)
        if math.isinf(updates):
            return math.inf, math.inf
        # The second term: a copy that catches up moves as far as what it copies has moved meanwhile.
        usual = self.usual * (updates + self.warm_up * math.sqrt(updates) + self.lag)
        return min(usual, self.most * (updates + self.lag)), self.most * (updates + self.lag)


def reach_of(
    algorithm: Algorithm,
    optimizer: OptimizerSettings,
    num_parameters: int,
    *,
    per_worker: int,
    replay_ratio: float = 0.0,
    batch_size: int = 1,
) -> Reach:
    """The reach of a run's learning.

    Args:
        per_worker: environments of a worker.
        replay_ratio: how often each step is learned from again; 0: no replay.
        batch_size: transitions that a replay gives at once.
    """
    rate = max(algorithm.learning_rate, algorithm.final_learning_rate if algorithm.schedule != "constant" else 0.0)
    usual = most = rate * math.sqrt(num_parameters)
    warm_up = 0.0
    if optimizer.name == "adam":
        b1, b2 = optimizer.beta1, optimizer.beta2
        room = (1 - b2) * (1 - b1 * b1 / b2) if b2 > 0 else 0.0
        most *= max(1.0, (1 - b1) / math.sqrt(room)) if room > 0 else math.inf
    elif optimizer.name == "rmsprop":
        longest = 1 / math.sqrt(1 - optimizer.decay) if optimizer.decay < 1 else math.inf
        most *= longest
        warm_up = 2 * longest  # the sum of 1 / sqrt(1 - a^t) over n updates is at most n + 2 sqrt(n / (1 - a))
    else:
        longest = 1 / (1 - optimizer.momentum) if 0 <= optimizer.momentum < 1 else math.inf
        usual = most = rate * algorithm.max_gradient_norm * longest
    batches = algorithm.batches_per_trajectory()
    played = algorithm.t_max * per_worker
    often = batches * (replay_ratio or 1.0)
    updates = replay_ratio * played / batch_size if algorithm.from_transitions else often
    return Reach(usual, most, warm_up, updates / played, updates + 1, algorithm.lag())
