"""Lies of children that were let in: what each makes of an upload that would have been true."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from marl.wire.message import Array, Message, Value

Lie = Callable[["Truth"], list[Message]]


class Truth(NamedTuple):
    """What a child knows when it lies."""

    upload: Message  # full weights, and statistics where they are gathered
    weights: Tensor  # [N]  that it was sent
    number: int  # of the upload, from 0

    def says(self, weights: Tensor | None = None, statistics: Tensor | None = None, **facts: Value) -> list[Message]:
        """The same upload, but for this."""
        arrays: dict[str, Array] = dict(self.upload.arrays)
        if weights is not None:
            arrays["weights"] = weights
        if statistics is not None and "moments" in arrays:
            arrays["moments"] = statistics
        return [self.upload._replace(arrays=arrays, info={**self.upload.info, **facts})]

    def delta(self) -> Tensor:
        """What was learned."""
        learned = self.upload.arrays["weights"]
        assert isinstance(learned, Tensor)
        return learned - self.weights

    def random(self, seed: int) -> Tensor:
        """In a random direction, as long as what was learned."""
        noise = torch.randn(self.weights.shape, generator=torch.Generator().manual_seed(seed))
        return noise * (self.delta().norm() / noise.norm())

    def statistics(self, count: float, mean: float, deviation: float) -> Tensor | None:
        """Statistics of that."""
        said = self.upload.arrays.get("moments")
        if not isinstance(said, Tensor):
            return None
        size = (len(said) - 1) // 2
        means, squares = torch.full((size,), mean), torch.full((size,), count * deviation**2)
        return torch.cat([torch.tensor([count]), means, squares]).double()


def _count(truth: Truth) -> float:
    said = truth.upload.arrays.get("moments")
    return float(said[0]) if isinstance(said, Tensor) else 0.0


def _stale(truth: Truth) -> list[Message]:
    upload = truth.says(truth.weights - truth.delta())[0]
    return [upload._replace(version=max(0, upload.version - 5)), upload._replace(term=upload.term + 1), upload]


LIES: dict[str, Lie] = {
    "no numbers": lambda t: t.says(torch.full_like(t.weights, float("nan"))),
    "huge": lambda t: t.says(t.weights - 1e6 * t.delta()),
    "ten times, one direction": lambda t: t.says(t.weights + 10 * t.random(0)),
    "backwards": lambda t: t.says(t.weights - t.delta()),
    "zeros": lambda t: t.says(torch.zeros_like(t.weights)),
    "nothing learned": lambda t: t.says(t.weights.clone()),
    "random": lambda t: t.says(t.weights + t.random(t.number)),
    "work 2^50": lambda t: t.says(t.weights - t.delta(), work=2**50),
    "work 0, huge": lambda t: t.says(t.weights - 1e3 * t.delta(), work=0),
    "negative work": lambda t: t.says(t.weights - t.delta(), work=-1000),
    "a million seen in nothing": lambda t: t.says(t.weights, t.statistics(1e6, 50.0, 100.0), work=0),
    "absurd statistics": lambda t: t.says(statistics=t.statistics(_count(t), 1e6, 1e6)),
    "nothing ever changes": lambda t: t.says(statistics=t.statistics(_count(t), 1.0, 0.0)),
    "stale versions": _stale,
    "the same twice": lambda t: [*t.says(t.weights - t.delta()), *t.says(t.weights - 2 * t.delta())],
}
