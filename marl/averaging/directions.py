"""Whether one child's deltas go against those of the others, for longer than chance explains."""

import math
from collections.abc import Collection

import torch
from torch import Tensor

SAMPLE = 16_384  # numbers that stand for all of them: a cosine is then known to about .01
KEPT, AFTER = 0.8, 4  # of the mean cosine; deltas that must have been seen
TRAJECTORIES = 4  # of a worker, that are behind a delta which counts as one; those of fewer count less
NOTHING = 1e-3  # length of a sum of directions that has none: they cancel, and the rest is rounding
AGAINST, APART = -0.25, 0.25  # a mean cosine that is suspicious; how far below all others' it must be


class Directions:
    """Compares samples of deltas. Honest children learn from the same policy: their deltas agree, or are noise.

    That is so of several trajectories. All updates from one go where its luck leads, often against the others.
    """

    def __init__(self, num_weights: int, trajectory: float = 0.0) -> None:
        """``trajectory``: steps of one, of a worker, where deltas may be of few or of parts; 0: all count as one."""
        self._stride, self._whole = -(-num_weights // SAMPLE), TRAJECTORIES * trajectory
        self._deltas: dict[str, Tensor] = {}
        self._shares: dict[str, float] = {}  # what each delta counts
        self._agreement: dict[str, float] = {}
        self._seen: dict[str, float] = {}  # the sum of what its deltas counted

    def sample(self, vector: Tensor) -> Tensor:
        """The numbers that stand for all."""
        return vector[:: self._stride]

    def add(self, child: str, delta: Tensor, steps: float = math.inf) -> None:
        """The sample of a child's delta, of which only the direction counts: long ones must not outvote all others.

        Args:
            steps: of a worker, that are behind it.
        """
        self._shares[child] = min(1.0, steps / self._whole) if self._whole else 1.0
        length = float(torch.linalg.vector_norm(delta))
        if 0 < length < math.inf:
            self._deltas[child] = delta / length
        else:
            self._deltas.pop(child, None)

    def compare(self, child: str) -> None:
        """The child's last delta with the sum of those of the others."""
        others = [each for name, each in self._deltas.items() if name != child]
        if child in self._deltas and others:
            self._update_agreement(child, torch.stack(others).sum(0))

    def _update_agreement(self, child: str, others: Tensor) -> None:
        if float(torch.linalg.vector_norm(others)) < NOTHING:
            return
        cosine = float(torch.nn.functional.cosine_similarity(self._deltas[child], others, dim=0))
        share = self._shares[child]
        seen = self._seen[child] = self._seen.get(child, 0.0) + share
        kept = min(KEPT**share, 1 - share / seen)
        self._agreement[child] = kept * self._agreement.get(child, 0.0) + (1 - kept) * cosine

    def compare_all(self) -> None:
        """Each of a round's deltas with the others of that round, which are then forgotten."""
        if len(self._deltas) > 1:
            total = torch.stack(list(self._deltas.values())).sum(0)
            for child, own in self._deltas.items():
                self._update_agreement(child, total - own)
        self._deltas.clear()

    def drop(self, child: str) -> None:
        """Compare nothing with this child's last delta any more: it has left."""
        self._deltas.pop(child, None)

    def forget(self) -> None:
        """Begin again: somebody takes part no more, or the weights have gone back."""
        self._deltas.clear()
        self._agreement.clear()
        self._seen.clear()

    def agrees(self, child: str) -> bool:
        """Whether a child is known not to go against the others: its deltas were compared often enough to tell."""
        return self._seen.get(child, 0.0) >= AFTER and self._agreement[child] >= AGAINST

    def opposed(self, among: Collection[str]) -> tuple[str, ...]:
        """Who goes against the others: one child against several; both of two, for no direction tells which lies.

        Args:
            among: who takes part; what others did before they left says nothing.
        """
        known = {
            child: each for child, each in self._agreement.items() if child in among and self._seen[child] >= AFTER
        }
        if len(known) < 2:
            return ()
        first, second, *_ = sorted(known, key=known.__getitem__)
        if len(known) == 2:
            return (first, second) if known[second] < AGAINST else ()
        return (first,) if known[first] < min(AGAINST, known[second] - APART) else ()
