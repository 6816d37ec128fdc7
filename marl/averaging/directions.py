"""Whether one child's changes of the weights go against those of the others, for longer than chance explains."""

import torch
from torch import Tensor

SAMPLE = 16_384  # numbers that stand for all of them: a cosine is then known to about .01
KEPT, AFTER = 0.8, 4  # of the mean cosine; changes that must have been seen
AGAINST, APART = -0.25, 0.25  # a mean cosine that is suspicious; how far below all others' it must be


class Directions:
    """Compares samples of changes. Honest children learn from the same policy: their changes agree, or are noise."""

    def __init__(self, num_weights: int) -> None:
        self._stride = -(-num_weights // SAMPLE)
        self._changes: dict[str, Tensor] = {}
        self._agreement: dict[str, float] = {}
        self._seen: dict[str, int] = {}

    def sample(self, vector: Tensor) -> Tensor:
        """The numbers that stand for all."""
        return vector[:: self._stride]

    def add(self, child: str, change: Tensor) -> None:
        """The sample of a child's change."""
        self._changes[child] = change

    def compare(self, child: str) -> None:
        """The child's last change with the sum of those of the others."""
        own = self._changes.get(child)
        others = [each for name, each in self._changes.items() if name != child]
        if own is None or not others:
            return
        cosine = float(torch.nn.functional.cosine_similarity(own, torch.stack(others).sum(0), dim=0))
        seen = self._seen[child] = self._seen.get(child, 0) + 1
        kept = min(KEPT, 1 - 1 / seen)
        self._agreement[child] = kept * self._agreement.get(child, 0.0) + (1 - kept) * cosine

    def compare_all(self) -> None:
        """Each of a round's changes with the others of that round, which are then forgotten."""
        for child in self._changes:
            self.compare(child)
        self._changes.clear()

    def forget(self) -> None:
        """Begin again: somebody takes part no more, or the weights have gone back."""
        self._changes.clear()
        self._agreement.clear()
        self._seen.clear()

    def opposed(self) -> tuple[str, ...]:
        """Who goes against the others: one child against several; both of two, for no direction tells which lies."""
        known = {child: agreement for child, agreement in self._agreement.items() if self._seen[child] >= AFTER}
        if len(known) < 2:
            return ()
        first, second, *_ = sorted(known, key=known.__getitem__)
        if len(known) == 2:
            return (first, second) if known[second] < AGAINST else ()
        return (first,) if known[first] < min(AGAINST, known[second] - APART) else ()
