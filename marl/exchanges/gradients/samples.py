"""A worker's part where an algorithm learns from a replay: samples of its own node's replay.

Every worker samples ``replay.batch_size`` rows for each minibatch. A minibatch is made of the samples of all workers of
all children, so divide that setting by their number to keep its size. Priorities stay at the child that has the rows.
"""

import math
from collections.abc import Iterator

import torch

from marl.algorithms.base import Algorithm, Loss, Moment
from marl.data.replay.transitions import Sampled
from marl.data.trajectory import Trajectory
from marl.exchanges.gradients.shard import Shard
from marl.training.minibatches import ReplayedTransitions


class ShardedSamples:
    """See ``MinibatchSource``: samples of a replay, each of them a part of a minibatch that all workers learn from.

    How many minibatches come after a trajectory is the same number for all: before the first of them, the workers add
    up how many samples are due and how many one minibatch has. So the replay ratio holds for the steps and samples of
    all together. What is left is shared out again: little is lost with a worker that goes. A worker whose replay has
    not begun has no part in these sums, nor in the minibatches, and waits.

    Importance weights, ``(n P)^-beta``, make up for unequal chances P among the n rows of the worker's own replay. So a
    worker's gradient estimates that of the mean over its replay, and counts by the size of its sample. The weights are
    divided by the largest of the whole minibatch, of all workers, as one learner would: if each were divided by its
    worker's largest, a worker with one improbable row would count less than the others. No message is spent on it: each
    worker divides by its own largest, tells it with its gradient, and who adds up gradients makes up for that.
    """

    def __init__(self, algorithm: Algorithm, replay: ReplayedTransitions, shard: Shard, most: int) -> None:
        """``most``: see ``most_updates``."""
        self._algorithm, self._replay, self._shard, self._most = algorithm, replay, shard, most

    def batches(self, trajectory: Trajectory, unused_moment: Moment) -> Iterator[Sampled]:
        """See ``MinibatchSource``."""
        shard = self._shard
        self._replay.store(trajectory)
        shard.begin()
        for _ in range(self._due()):
            batch = self._replay.draw() if shard.in_step else None
            if batch is None:
                break
            shard.count, shard.largest = self._algorithm.count(batch), batch.largest
            yield batch
        shard.end()

    def learned(self, loss: Loss) -> None:
        """See ``MinibatchSource``."""
        self._replay.learned(loss)

    def _due(self) -> int:
        """How many minibatches this worker has a part in now."""
        replay, shard = self._replay, self._shard
        size = replay.sample_steps if replay.has_begun() else 0
        if not size:
            replay.limiter.forgive()
        due, sizes = shard.together(torch.tensor([replay.limiter.due, size], dtype=torch.float64)).tolist()
        if not shard.in_step or not size or not 0 < sizes < math.inf or not 0 <= due < math.inf:  # of a faulty child
            return 0
        number = int(min(due / sizes, self._most))
        replay.limiter.due = min((due - number * sizes) * size / sizes, size)
        return number
