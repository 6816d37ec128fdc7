"""Whether arrays that came from elsewhere are what a layout declares."""

from itertools import zip_longest
from typing import Any

import numpy as np
import torch

from marl.data.layout import Header, Leaf, Tree, Values, mapped
from marl.errors import MessageRefused


def compare(expected: Header, came: Header) -> None:
    """Whether two headers are equal.

    Raises:
        MessageRefused: they are not; the text names the first difference.
    """
    for here, there in zip_longest(expected, came):
        if here != there:
            raise MessageRefused(f"expected {_words(here)}, got {_words(there)}")


def demand_sound(tree: Tree, values: Values, claim: str) -> None:
    """Whether what came from elsewhere is of the kind that a layout's tree declares: categories that there are, flags
    of 0 and 1, finite numbers.

    Args:
        claim: begins the text of a refusal, such as "a trajectory has".

    Raises:
        MessageRefused: something is not.
    """

    def check(leaf: Leaf, value: Any) -> None:
        if fault := _fault(leaf, value):
            raise MessageRefused(f"{claim} {fault}")

    mapped(check, tree, values)


def within(numbers: Any, low: float, high: float) -> bool:
    """Whether all of an array or a tensor lies there; NaN lies nowhere. No temporary."""
    if isinstance(numbers, np.ndarray):
        return not numbers.size or bool(low <= numbers.min() and numbers.max() <= high)
    if not numbers.numel():
        return True
    least, most = torch.aminmax(numbers)
    return low <= least.item() and most.item() <= high


def _fault(leaf: Leaf, value: Any) -> str | None:
    """In words what no value of this leaf has; None where there is nothing of the kind."""
    if leaf.dtype.is_floating_point:
        if isinstance(value, np.ndarray):
            finite = bool(np.isfinite(value).all())
        else:
            largest = torch.finfo(leaf.dtype).max
            finite = within(value, -largest, largest)
        if not finite:
            return "a number that is not finite"
        return _mixed_fault(leaf, value) if leaf.categories else None
    if leaf.dtype is torch.bool:
        flags = value.view(np.uint8 if isinstance(value, np.ndarray) else torch.uint8)
        return None if within(flags, 0, 1) else f"{leaf.name} other than 0 and 1"
    if len(leaf.categories) > 1:
        columns = value.reshape(-1, len(leaf.categories)).T
        sound = all(within(column, 0, most - 1) for column, most in zip(columns, leaf.categories, strict=True))
        return None if sound else f"{leaf.name} outside their categories {list(leaf.categories)}"
    if leaf.categories and not within(value, 0, leaf.categories[0] - 1):
        return f"{leaf.name} outside their {leaf.categories[0]} categories"
    return None


def _mixed_fault(leaf: Leaf, value: Any) -> str | None:
    """Of a row in which categories stand beside measured numbers, as floating numbers all."""
    columns = value.reshape(-1, len(leaf.categories)).T
    for column, most in zip(columns, leaf.categories, strict=True):
        if most and not (within(column, 0, most - 1) and bool((column == column.round()).all())):
            return f"{leaf.name} outside their {most} categories"
    return None


def _words(line: tuple[str, str, tuple[int, ...]] | None) -> str:
    if line is None:
        return "no more values"
    name, dtype, shape = line
    return f"{name or 'one value'} of {dtype} {list(shape)}"
