"""How far learning can move the weights, by what the settings say and without looking at any weights.

One update of Adam moves a number by ``rate * |m| / sqrt(v)``. Here m is a mean of gradients, v a mean of their squares
over a longer time. While gradients do not grow, ``|m| <= sqrt(v)`` (Kingma and Ba, "Adam", section 2.1). For any
gradients, Cauchy's inequality gives ``|m| <= sqrt(v) (1 - b1) / sqrt((1 - b2) (1 - b1^2 / b2))``. RMSProp divides by a
root that starts at 0: update t is at most ``rate / sqrt(1 - a^t)`` while gradients do not grow, and never more than
``rate / sqrt(1 - a)``. These bounds are for one number; for all P numbers, multiply them by sqrt(P). SGD moves all
numbers together by ``rate`` times the gradient's length, which is clipped; momentum makes this at most
``1 / (1 - m)`` times as long.
"""

import math

from marl.algorithms.base import Algorithm
from marl.averaging.reach import Reach
from marl.training.optimizers import OptimizerSettings


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
        replay_ratio: how often the replay gives each step to training; 0: no replay.
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
