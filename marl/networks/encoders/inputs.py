"""What a multilayer perceptron sees of observations: one row of numbers, with a 1 for each category that holds."""

import torch
from torch import Tensor

from marl.data.layout import Values, leaves
from marl.data.spaces import Part, Parts, values_of


class Inputs:
    """Turns observations into rows [..., size]; has no weights."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.is_one = isinstance(parts, Part) and not parts.categories
        found = leaves(parts)
        self._offsets = [offsets_of(part) if part.categories else None for part in found]
        self.size = sum(sum(part.categories) or part.size for part in found)

    def __call__(self, observations: Values) -> Tensor:
        """Rows of an array [..., D], or of a tree of arrays."""
        if self.is_one:
            return as_floats(observations)
        pairs = zip(values_of(self._parts, observations), self._offsets, strict=True)
        rows = [
            as_floats(each) if offsets is None else _hot(each, offsets, sum(part.categories))
            for (part, each), offsets in pairs
        ]
        return torch.cat(rows, -1) if len(rows) > 1 else rows[0]


def as_floats(observations: Tensor) -> Tensor:
    """Pixels, bytes from 0 to 255, as numbers from 0 to 1; whatever else as it is."""
    return observations / 255.0 if observations.dtype is torch.uint8 else observations


def offsets_of(part: Part) -> Tensor:
    """Where the categories of each number begin [D], if those of all are in one row."""
    ends = torch.tensor(part.categories).cumsum(0)
    return torch.cat([ends.new_zeros(1), ends[:-1]])


def _hot(categories: Tensor, offsets: Tensor, size: int) -> Tensor:
    where = categories.long() + offsets.to(categories.device)
    return torch.zeros(*where.shape[:-1], size, device=where.device).scatter_(-1, where, 1.0)
