"""Which transitions to learn from next: each with a chance proportional to a power of its priority.

Schaul et al., "Prioritized Experience Replay" (2016). Above the leaves lies a tree of sums in shared memory, which all
processes change without a lock. A sum is always taken anew from all its children, never changed by a difference: when
two processes meet there, or one is killed between, it is at worst a little old, and whoever next writes below it puts
it right. Until then chances are a little off, the probabilities that ``sample`` returns are those it drew with, and a
leaf without priority is never drawn.
"""

import numpy as np
import numpy.typing as npt
import torch

from marl.data.layout import Leaf, Tree
from marl.data.shared import SharedBlock
from marl.failpoints import fail

FAN_OUT = 32  # children of a node; 16 to 64 are about as fast
MAX_TOP = 1024  # nodes of the highest level, which all samples share: cheaper than one more level
SMALLEST = 5e-324  # above 0

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def priority_fields(capacity: int) -> dict[str, Tree]:
    """What a block needs for the priorities of ``capacity`` transitions: all levels, the top first."""
    top, depth = capacity, 0
    while top > MAX_TOP:
        top, depth = -(-top // FAN_OUT), depth + 1
    return {f"priorities_{level}": Leaf((top * FAN_OUT**level,), torch.float64) for level in range(depth + 1)}


class Priorities:
    """One process's view of the tree.

    ``alpha``: how much a priority matters, 0 for not at all, 1 for in proportion; 0.6 is usual. A priority of 0 means
    never.
    """

    def __init__(self, block: SharedBlock, alpha: float) -> None:
        self._alpha = alpha
        depth = sum(name.startswith("priorities_") for name in block.names())
        self._levels: list[Floats] = [block[f"priorities_{level}"].numpy() for level in range(depth)]
        self._leaves = self._levels[-1]
        self._ones = np.ones(FAN_OUT)

    def set(self, indices: Integers, priorities: Floats) -> None:
        """Give transitions [N] their priorities [N]; of one that is named twice, the last counts.

        Raises:
            ValueError: a priority is negative or not finite.
        """
        self._leaves[indices] = self._powers(priorities)
        fail("priorities.summing")
        self._sum(indices)

    def total(self) -> float:
        """The sum of all priorities, each to the power alpha."""
        return float(self._levels[0].sum())

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Integers, Floats] | None:
        """Transitions [N] and the probability of each [N]; one of each N-th of all chances. None if there are none."""
        indices, probabilities = self._walk((np.arange(count) + rng.random(count)) / count)
        while len(dead := np.flatnonzero(probabilities == 0)):
            self._sum(indices[dead])  # an old sum promised something where nothing is left
            if not self.total():
                return None
            indices[dead], probabilities[dead] = self._walk(rng.random(len(dead)))
        return indices, probabilities

    def _powers(self, priorities: Floats) -> Floats:
        if len(priorities) and not (priorities.min() >= 0 and priorities.max() < np.inf):
            raise ValueError(f"expected finite priorities from 0, got {priorities.min()} to {priorities.max()}")
        powers: Floats = priorities**self._alpha * (priorities > 0)  # 0^0 is 1
        return powers

    def _sum(self, nodes: Integers) -> None:
        """Take the sums above these leaves anew, from the bottom up."""
        for above, level in zip(self._levels[-2::-1], self._levels[:0:-1], strict=True):
            nodes = nodes // FAN_OUT
            above[nodes] = level.reshape(-1, FAN_OUT).take(nodes, axis=0) @ self._ones

    def _walk(self, fractions: Floats) -> tuple[Integers, Floats]:
        """Leaves [N] that lie at these fractions [N] of the whole, and their probabilities [N], 0 for a dead end."""
        nodes, fractions, probabilities = _choose(self._levels[0].reshape(1, -1).copy(), fractions)
        for level in self._levels[1:]:
            chosen, fractions, chances = _choose(level.reshape(-1, FAN_OUT).take(nodes, axis=0), fractions)
            nodes, probabilities = nodes * FAN_OUT + chosen, probabilities * chances
        return nodes, probabilities


def importance_weights(probabilities: Floats, count: int, beta: float) -> tuple[Floats, float]:
    """Weights [N] that make up for drawing unequally from ``count`` transitions: (count P)^-beta, divided by their
    largest; and that largest one.

    ``beta``: from 0, not at all, to 1, wholly; 0.4 is usual.
    """
    weights: Floats = (count * probabilities) ** -beta
    largest = float(weights.max())
    weights /= largest
    return weights, largest


def _choose(children: Floats, fractions: Floats) -> tuple[Integers, Floats, Floats]:
    """In each row of children [N or 1, F], the one at a fraction [N] of their sum.

    Returns [N] each: the child, the fraction of its own part that is left to go, and the chance that it had. A chance
    of 0 is a dead end: all children are 0, or rounding led beyond the last.
    """
    sums = torch.from_numpy(children).cumsum(1).numpy()  # numpy's own takes 8 times as long
    total = sums[:, -1]
    target = fractions * total
    if len(children) == 1:
        chosen: Integers = np.minimum(sums[0].searchsorted(target, side="right"), len(sums[0]) - 1)
    else:  # searching in halves would take longer in rows as short as these
        chosen = (sums > target[:, None]).argmax(axis=1)
    flat = chosen + np.arange(len(children)) * children.shape[1]
    part = children.take(flat)
    left = 1 - (sums.take(flat) - target) / np.maximum(part, SMALLEST)
    return chosen, np.maximum(left, 0), part / np.maximum(total, SMALLEST)
