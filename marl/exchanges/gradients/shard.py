"""A worker's side: it learns from its part of each minibatch, together with all other workers of all children."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from marl.algorithms.base import Algorithm, Loss, Moment
from marl.data.node.bell import Bell
from marl.data.node.memory import array
from marl.data.shared import SharedBlock
from marl.data.trajectory import Trajectory
from marl.exchanges.gradients.memory import ANEW, AWAY, BUSY, GRADIENT, KIND, MEMBER, NEW, NOTHING, NUMBER, STATE, SUMS
from marl.training.busy_time import BusyTime
from marl.training.flat import Flat
from marl.training.learned_weights import gradient_of


class Shard:
    """The worker's part in each round. See ``LearnedWeights``: the contact moves the weights of all workers.

    A delayed one does not wait for the mean of its own gradient, but for that of the one before: only then it gives its
    own, and goes on with the weights that this one has not moved yet. Nobody can move them before it has them.
    """

    def __init__(
        self, block: SharedBlock, worker: int, rounds: int, *, delayed: bool = False, busy: BusyTime | None = None
    ) -> None:
        """
        Args:
            rounds: of each trajectory; all workers make as many, so that all play at the same time.
            busy: tells how long the worker was busy, for virtual time.
        """
        self._weights = block["weights"]
        # What ``Algorithm.settle`` moves at this worker. Nobody reads it: the contact settles the weights of all.
        self.vector = torch.zeros_like(self._weights)
        self.in_step = False  # whether this trajectory is learned from together with those of all others
        self.count = 0.0  # transitions of the batch whose loss comes next
        self.largest = 1.0  # importance weight before that batch's were divided by it
        self._rounds, self._delayed, self._busy = rounds, delayed, busy
        self._part, self._numbers = array(block, "part")[worker], array(block, "part_numbers")[worker]
        self._gradient, self._sums = block["part_gradient"][worker], block["part_sums"][worker]
        self._round, self._stop = array(block, "round"), array(block, "stop")
        self._round_bell, self._part_bell = (Bell(array(block, name)) for name in ("round_bell", "part_bell"))
        self._norm, self._total = array(block, "round_norm"), block["round_sums"]
        self.num_parameters = self._gradient.numel()
        self._over = 0  # the last round that this worker knows to be over
        self._has_part = False  # in the round after that
        self._fetched = -1  # the round after which the network's weights are those of the node
        if self._part[STATE] != NEW:  # an earlier process of this worker died: nobody waits for this one yet
            self._part[STATE] = AWAY

    def over(self, local: Flat) -> "Shard":
        """With this network's weights and gradient; see ``Worker.learn``."""
        self._local = local
        return self

    def fetch(self) -> None:
        """See ``LearnedWeights``. While the worker has a part in a round, which may end, it has fetched already."""
        if self._fetched != self._over:
            self._local.weights.copy_(self._weights)
            self._fetched = self._over

    def step(self, loss: Loss, rate: float, unused_max_norm: float) -> float:
        """Take part in the next round with the gradient of ``count`` transitions; the parent clips the mean. Returns
        the norm of the last mean that is known.
        """
        gradient = gradient_of(self._local, loss)
        if not self._wait():
            return float("inf")
        torch.mul(gradient, self.count, out=self._gradient)
        self._numbers[1], self._numbers[2] = rate, self.largest
        self._give(GRADIENT, self.count)
        if not self._delayed:
            self._wait()
        return float(self._norm[0]) if self.in_step else float("inf")

    def together(self, numbers: Tensor) -> Tensor:
        """See ``Moment.together``. The sum is needed now, in each form."""
        count = numbers.numel()
        if not self._wait():
            return numbers
        self._sums[:count].copy_(numbers.reshape(-1))
        self._sums[count:].zero_()
        self._give(SUMS, 1.0)
        if not self._wait():
            return numbers
        return self._total[:count].view(numbers.shape).clone()

    def begin(self) -> None:
        """A trajectory is there: learn from it when all others begin to learn from theirs."""
        if not self._has_part or self._round[0] - self._over not in (0, 1):  # else it is in step with the others
            self._has_part, self._over = False, int(self._round[0])
            self._part[STATE] = MEMBER
            self.end()
            self.fetch()
        self.in_step = True

    def end(self) -> None:
        """No more of this trajectory: let the others finish with theirs."""
        while (self._over + self._has_part) % ANEW % self._rounds and not self._stop[0]:
            if self._has_part:
                self._wait()  # and look again: where rounds went on without this worker, the trajectory may be over
                continue
            self._give(NOTHING, 0.0)
            if not self._delayed:
                self._wait()

    def _give(self, kind: int, count: float) -> None:
        """Take part in the round after the last one, which is over."""
        if kind != SUMS:
            self.fetch()  # now: the round may end, and move the weights, at any time from here on
        self._numbers[0], self._part[KIND] = count, kind
        if self._busy is not None:
            self._numbers[BUSY] = self._busy.seconds()
        self._part[NUMBER] = self._over + 1  # last: now the contact may read the part
        self._part_bell.ring()
        self._has_part = True

    def _wait(self) -> bool:
        """Until the round is over that this worker has a part in. False if rounds went on without it, or the run is
        over.
        """
        if not self._has_part:
            return self.in_step
        if self._busy is None:
            self._poll()
        else:
            self._busy.waits(self._poll)
        before, self._over, self._has_part = self._over, int(self._round[0]), False
        if self._over != before + 1:
            self.in_step = False
        return self.in_step

    def _poll(self) -> None:
        self._round_bell.wait_for(lambda: bool(self._round[0] != self._over or self._stop[0]))


class ShardedMinibatches:
    """See ``MinibatchSource``: those of an algorithm, each of them a part of one that all workers learn from."""

    def __init__(self, algorithm: Algorithm, network: nn.Module, shard: Shard) -> None:
        self._algorithm, self._network, self._shard = algorithm, network, shard

    def batches(self, trajectory: Trajectory, moment: Moment) -> Iterator[Any]:
        """See ``MinibatchSource``."""
        shard = self._shard
        shard.begin()
        together = moment._replace(together=shard.together)
        for batch in self._algorithm.minibatches(self._network, trajectory, together):
            if not shard.in_step:
                break
            shard.count = self._algorithm.count(batch)
            yield batch
        shard.end()

    def learned(self, loss: Loss) -> None:
        """Nothing to do."""
