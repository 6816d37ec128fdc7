"""A replay that remembers which samples were drawn from it, by whom and when."""

from typing import Any, NamedTuple

from torch import Tensor

from marl.data.replay.transitions import Sampled
from marl.exchanges.gradients.memory import ANEW
from marl.exchanges.gradients.shard import Shard
from marl.training.minibatches import ReplayedTransitions


class Drawn(NamedTuple):
    """A sample of a replay."""

    place: tuple[str, int]  # child and worker
    round: int  # in which it is learned from
    batch: Sampled
    noise: Tensor  # state of its generator
    indices: Any  # in the replay


class Recorded(ReplayedTransitions):
    """Tells what it draws."""

    place: tuple[str, int]
    shard: Shard
    told: list[Drawn]

    def draw(self) -> Sampled | None:
        batch = super().draw()
        if batch is not None and batch.generator is not None and self._drawn is not None:
            noise, indices = batch.generator.get_state(), self._drawn[0]
            number = (self.shard._over + self.shard._has_part) % ANEW
            self.told.append(Drawn(self.place, number, batch, noise, indices))
        return batch
