"""A worker's view of the running statistics that all workers share."""

import numpy as np

from marl.acting.burn_in import BurnIn
from marl.acting.collect import Collector, Episodes
from marl.acting.novelty import Novelty
from marl.data.normalizer import Normalizer, add, beside, columns, merge
from marl.data.shared import SharedBlock
from marl.data.trajectory import Trajectory
from marl.networks.contract import Acts


class Statistics:
    """Writes what this worker saw into its own row, and normalises by all rows merged."""

    def __init__(
        self, block: SharedBlock, worker: int, *, observations: bool, rewards: bool, alone: bool = True
    ) -> None:
        """``alone``: observations are normalised by what this node's workers have seen. Otherwise they are normalised
        only by row 0, which comes from the parent together with the weights. Then row 0 has returns too: children
        average their value functions, so they must all scale rewards in the same way.
        """
        self._observations, self._rewards = block["observations"].numpy(), block["rewards"].numpy()
        self._row = 1 + worker
        self._scales_rewards, self._together = rewards, rewards and not alone
        self._used = slice(None) if alone else slice(1)
        self.normalizer: Normalizer | None = None
        size = (self._observations.shape[1] - 1) // 2 - self._together
        self._seen = slice(size)
        if observations:
            self.normalizer = Normalizer(size)
        self.refresh()

    def refresh(self) -> None:
        """Use what all workers have seen up to now."""
        if self.normalizer is not None:
            self.normalizer.use(columns(merge(self._observations[self._used]), self._seen))

    def learn_from(self, collector: Collector) -> None:
        """Add the last trajectory to the statistics and scale its rewards; the next trajectory uses the result."""
        if self._together:
            return self._learn_both(collector)
        if self.normalizer is not None:
            add(self._observations[self._row], collector.observation_statistics())
            self.refresh()
        scale = 1.0
        if self._scales_rewards:
            add(self._rewards[self._row], collector.reward_statistics())
            scale = 1.0 / float(np.maximum(merge(self._rewards).std()[0], 1e-8))
        collector.scale_rewards(scale)

    def _learn_both(self, collector: Collector) -> None:
        """Like ``learn_from``, for a child. Its row has returns too; the statistics of all children scale rewards."""
        both = collector.reward_statistics()
        if self.normalizer is not None and both.count:
            both = beside(collector.observation_statistics(), both)
        if both.count:
            add(self._observations[self._row], both)
        self.refresh()
        common = merge(self._observations[:1])
        if common.count < 2:  # until the parent has sent some, there is only what this node has seen
            common = merge(self._observations)
        collector.scale_rewards(1.0 / float(common.std()[-1]))


class Rollouts:
    """Plays a worker's trajectories, adds them to the running statistics, scales their rewards and adds a bonus."""

    def __init__(
        self,
        collector: Collector,
        statistics: Statistics,
        novelty: Novelty | None = None,
        burn_in: BurnIn | None = None,
    ) -> None:
        self._collector, self._statistics, self._novelty, self._burn_in = collector, statistics, novelty, burn_in

    def reset(self, seeds: list[int]) -> None:
        """Start new episodes in every environment; of all state, only what lies in shared memory is kept."""
        self._collector.reset(seeds)
        self._statistics.refresh()
        if self._novelty is not None:
            self._novelty.reset()
        if self._burn_in is not None:
            self._burn_in.forget()

    def collect(self, network: Acts, version: int) -> tuple[Trajectory, Episodes]:
        """See ``Collector.collect``."""
        found = self._collector.collect(network, self._statistics.normalizer, version)
        self._statistics.learn_from(self._collector)
        if self._novelty is not None:
            self._novelty.add(found[0])
        if self._burn_in is not None:
            return self._burn_in.lengthened(found[0]), found[1]
        return found
