"""The parts of one round, and their sum. Pure: no thread, no clock, no link."""

import math
import statistics
from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from marl.errors import WeightsRefused
from marl.exchanges.gradients.memory import GRADIENT, NOTHING, SUMS
from marl.wire.message import Message, tensor_of

ENOUGH = 3  # children whose lengths tell what is usual


class Part(NamedTuple):
    """What one child brings to a round."""

    kind: int
    transitions: float = 0.0  # that its gradient is a sum over
    numbers: Tensor | None = None  # the sum [P] of gradients, or numbers [K] to add up
    rate: float = 0.0  # of learning, as the child's own clock and steps say
    largest: float = 1.0  # importance weight before the child's were divided by it


class Total(NamedTuple):
    """The sum of a round's parts."""

    kind: int
    numbers: Tensor | None = None  # the mean gradient [P], or sums [K]; None: nobody had a part
    rate: float = 0.0


def part_of(upload: Message, *, most: float, fastest: float) -> Part:
    """What an upload says.

    Args:
        most: transitions that it can have.
        fastest: the largest learning rate that the settings allow.

    Raises:
        WeightsRefused: a number is not finite, or cannot be.
    """
    kind, count = upload.info.get("kind"), upload.info.get("count")
    if kind == NOTHING and not (upload.arrays.keys() - {"moments"}):
        return Part(NOTHING)
    name = {GRADIENT: "gradient", SUMS: "sums"}.get(kind if isinstance(kind, int) else -1)
    if name is None or name not in upload.arrays:
        raise WeightsRefused(
            f"expected a gradient, sums or nothing, got kind {kind!r:.20} with {sorted(upload.arrays)}"
        )
    numbers = tensor_of(upload, name)
    if not all_finite(numbers):
        raise WeightsRefused(f"expected finite numbers in {name}")
    if not isinstance(count, float) or not 0 <= count <= most:
        raise WeightsRefused(f"expected 0 to {most:g} transitions, got {count!r:.40}")
    rate = upload.info.get("rate", 0.0)
    if not isinstance(rate, float) or not 0 <= rate <= fastest:
        raise WeightsRefused(f"expected a learning rate of 0 to {fastest:g}, got {rate!r:.40}")
    largest = upload.info.get("largest", 1.0)
    if not isinstance(largest, float) or not 0 < largest < math.inf:
        raise WeightsRefused(f"expected a largest weight of more than 0, and finite, got {largest!r:.40}")
    return Part(int(kind), count, numbers, rate, largest)  # type: ignore[arg-type]


def total_of(parts: Mapping[str, Part], order: Mapping[str, int], clip: float = math.inf) -> Total:
    """The sum of the parts, in the order of ranks: the same parts give the same bits.

    Args:
        order: rank of each child.
        clip: a child's mean gradient is at most this many times as long as the usual one, where that is known.
    """
    ranked = [parts[name] for name in sorted(parts, key=lambda name: (order.get(name, 0), name))]
    kind = max((part.kind for part in ranked if part.kind != NOTHING), default=NOTHING)
    taken = [part for part in ranked if part.kind == kind and part.numbers is not None]
    if kind == NOTHING or not taken:
        return Total(NOTHING)
    if kind == SUMS:
        return Total(SUMS, _sum([part.numbers for part in taken if part.numbers is not None]))
    taken = _by_one_weight(taken, clip)
    counts, factors = sum(part.transitions for part in taken), _factors(taken, clip)
    scaled = [
        part.numbers if factor == 1.0 else part.numbers * factor
        for part, factor in zip(taken, factors, strict=True)
        if part.numbers is not None
    ]
    return Total(GRADIENT, _sum(scaled) / max(counts, 1.0), taken[0].rate)


def all_finite(numbers: Tensor) -> bool:
    """Whether each is finite. Their length tells it in a tenth of the time, unless the sum of squares is too large."""
    return math.isfinite(length_of(numbers)) or bool(numbers.isfinite().all())


def length_of(gradient: Tensor) -> float:
    """Its Euclidean norm."""
    return float(torch.linalg.vector_norm(gradient))


def clipped(gradient: Tensor, norm: float, max_norm: float) -> Tensor:
    """A gradient that is ``norm`` long, shortened to ``max_norm``: the same bits on every machine."""
    return gradient * (max_norm / norm) if max_norm < norm < math.inf else gradient


def _sum(tensors: list[Tensor]) -> Tensor:
    total = tensors[0].clone()
    for each in tensors[1:]:
        total.add_(each)
    return total


def _by_one_weight(parts: list[Part], clip: float) -> list[Part]:
    """With gradients divided by the largest importance weight of all, which is at most ``clip`` times as large as the
    usual one, where that is known.
    """
    weights = [part.largest for part in parts if part.transitions]
    if len(set(weights)) <= 1:
        return parts
    limit = clip * statistics.median(weights) if len(weights) >= ENOUGH else math.inf
    weights = [min(limit, part.largest) for part in parts]
    largest = max(weights)
    return [
        part if part.numbers is None else part._replace(numbers=part.numbers * (weight / largest))
        for part, weight in zip(parts, weights, strict=True)
    ]


def _factors(parts: list[Part], clip: float) -> list[float]:
    """What each sum of gradients is multiplied by."""
    lengths = [0.0 if part.numbers is None else length_of(part.numbers) / max(part.transitions, 1.0) for part in parts]
    return [shortening(length, lengths, clip) for length in lengths]


def shortening(length: float, lengths: Collection[float], clip: float) -> float:
    """What a gradient is multiplied by: less than 1 where it is much longer than is usual.

    Args:
        length: of its mean; ``lengths`` of those of all children.
        clip: a gradient is at most this many times as long as the usual one, where that is known.
    """
    moving = [each for each in lengths if each]
    if len(moving) < ENOUGH or math.isinf(clip) or not length:
        return 1.0
    return min(1.0, clip * statistics.median(moving) / length)
