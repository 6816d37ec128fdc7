"""Pairwise mixing of uploads, one at a time, into the global weights."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from marl.averaging.mean import Accepted
from marl.averaging.vetting import Sent
from marl.exchanges.merging.merger import Merged, Merger
from marl.exchanges.sides import Global
from marl.wire.message import Message

SAMPLED = 1.25  # a length that is estimated from a sample may be too short by this factor


class Held(NamedTuple):
    """Where a child's weights are after a broadcast."""

    distance: float  # from the global weights at that time
    path: float  # length of all steps of the global weights until then


class MixingMerger(Merger):
    """Pairwise: every upload is merged at once, ``P = (1 - alpha) P + alpha C``.

    A child's own learning is only a part of its distance from the global weights. There was already a distance after
    its last broadcast, and since then the others have moved the global weights. The lengths of these two parts are
    known.
    """

    _path = 0.0  # length of all steps of the global weights

    def __init__(self, *args: Any, step_size: Callable[[Message], float], **named: Any) -> None:
        """``step_size``: how far an upload moves the global weights, 0 to 1."""
        self._step_size = step_size
        self._held: dict[str, Held] = {}
        self._stood: dict[str, Tensor] = {}  # samples of the children's weights after their last broadcasts
        self._broadcast: dict[str, Tensor] = {}  # samples of the global weights in these broadcasts
        super().__init__(*args, **named)

    def joined(self, child: str, *, anew: bool) -> None:
        """Note that a child is sent the weights.

        Args:
            anew: whether the child drops what it had learned and trains from them.
        """
        if anew:
            self._stood[child] = self.directions.sample(self.current.weights).clone()
            self._broadcast[child] = self._stood[child]
            self._held[child] = Held(0.0, self._path)

    def left(self, child: str) -> None:
        """A child is gone. It may come back later."""
        self.directions.drop(child)

    def add(self, upload: Message, sent: Sent) -> Merged:
        """See ``Merger``."""
        self._alpha = self._step_size(upload)
        return super().add(upload, sent)

    def _put(self, numbers: Tensor, work: float, weight: float, sent: Sent, *, is_delta: bool) -> Accepted:
        before, alpha = self.current, self._alpha
        held = self._held.get(sent.child, Held(0.0, self._path))
        norm = self._meter.norm(numbers, before.weights)
        explained = held.distance + min(self._path - held.path, self._moved(sent.child))
        factor = self.vetting.shorten(sent, work, weight, explained)(norm)
        if self.vetting.is_nothing(sent.child, self._learned(sent.child, numbers), weight):
            alpha = 0.0
        mixed = torch.lerp(before.weights, numbers, alpha * factor)
        step = alpha * factor * norm
        self._path += step
        self._held[sent.child] = Held((1 - self._settings.beta) * (1 - alpha) * factor * norm, self._path)
        self._mixed = mixed
        return Accepted(norm, factor if alpha else 0.0)

    def _learned(self, child: str, numbers: Tensor) -> float:
        """About how far the child has moved since its last broadcast; infinite where not known."""
        stood, sample = self._stood.get(child), self.directions.sample(numbers)
        if stood is None:
            return math.inf
        return math.sqrt(numbers.numel() / sample.numel()) * float(torch.linalg.vector_norm(sample - stood))

    def _moved(self, child: str) -> float:
        """About how far the global weights are from those of the child's last broadcast; infinite where not known.

        Steps back and forth make a long path but no distance. Such a path must not excuse a long upload.
        """
        before, now = self._broadcast.get(child), self.directions.sample(self.current.weights)
        if before is None:
            return math.inf
        scale = math.sqrt(self.current.weights.numel() / now.numel())
        return SAMPLED * scale * float(torch.linalg.vector_norm(now - before))

    def _added(self) -> None:
        before, mixed = self.current, self._mixed
        steps, self._steps = before.steps + int(self._steps), 0.0
        self.current = Global(before.version + 1, mixed, self._folded({}), steps, self._quantised(mixed))

    def _compare(self, child: str, numbers: Tensor, steps: float, *, is_delta: bool) -> None:
        """Compare with the child's weights after its last broadcast, not with weights that others have moved since."""
        sample = self.directions.sample(numbers)
        stood = self._stood.get(child)
        if stood is not None:
            self.directions.add(child, sample - stood, steps)
            self.directions.compare(child)
        self._broadcast[child] = self.directions.sample(self._mixed).clone()
        self._stood[child] = torch.lerp(sample, self.directions.sample(self._mixed), self._settings.beta)

    def _quantised(self, weights: Tensor) -> Tensor | None:
        """All weights, encoded: there is no version that all children have, so no delta can be sent."""
        if self._codec is None:
            return None
        quantised = torch.empty(self._codec.num_bytes(weights.numel()), dtype=torch.uint8)
        self._codec.encode(weights, None, quantised)
        return quantised
