"""Observations outside the bounds that their space declares: counted, the first put into words. They stop nothing."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces as gym_spaces

from marl.data.layout import Values, leaves
from marl.data.spaces import Part, Parts
from marl.words import place

Array = npt.NDArray[Any]
SPREAD = 1 << 16  # up to so many numbers, bounds are copied for each row: comparing then takes half the time


class Outside:
    """Looks at rows of observations. A leaf without bounds, or whose type has no room beyond them, costs nothing."""

    def __init__(self, space: gym_spaces.Space[Any], parts: Parts, environment: str) -> None:
        """``parts``: the tree that ``describe`` made of the space."""
        self.count = 0  # observations so far
        self.first = ""  # what was outside in the first of them, in words
        self._environment = environment
        self._is_one = isinstance(parts, Part)
        self._bounds = [
            bounds for leaf, each in enumerate(_boxes("", space, parts)) if (bounds := _bounds(leaf, *each)) is not None
        ]

    def look(self, rows: Values) -> None:
        """Count those of observations [..., D] that have a number outside, in any leaf."""
        if not self._bounds:
            return
        found = [rows] if self._is_one else leaves(rows)
        wrong = [(each, found[each.leaf]) for each in self._bounds if each.excludes(found[each.leaf])]
        if not wrong:
            return
        if not self.first:
            self.first = f"{self._environment}: {wrong[0][0].words(wrong[0][1])}"
        outside = np.logical_or.reduce([each.outside(numbers).any(axis=-1) for each, numbers in wrong])
        self.count += int(np.count_nonzero(outside))


class _Bounds:
    """Of one leaf that has some."""

    def __init__(self, leaf: int, name: str, low: Array, high: Array) -> None:
        """``leaf``: its number among all leaves; ``low`` and ``high`` [D]."""
        self.leaf, self._name = leaf, name
        self._own = low, high
        self._low, self._high = low, high  # spread over the shape of what was compared last

    def excludes(self, numbers: Array) -> bool:
        """Whether any of numbers [..., D] lies outside."""
        if numbers.shape != self._low.shape:
            self._low, self._high = (_spread(each, numbers.shape) for each in self._own)
        return bool(np.count_nonzero(numbers < self._low) or np.count_nonzero(numbers > self._high))

    def outside(self, numbers: Array) -> Array:
        """Which of them do, of the same numbers."""
        found: Array = (numbers < self._low) | (numbers > self._high)
        return found

    def words(self, numbers: Array) -> str:
        """The first that does."""
        place = np.unravel_index(int(np.argmax(self.outside(numbers))), numbers.shape)
        name = f"number {place[-1]} of {self._name}" if numbers.shape[-1] > 1 else self._name
        return (
            f"{name} is {numbers[place]:.9g}, outside its space of {self._low[place]:.7g} to {self._high[place]:.7g}; "
            "it is used as it is, and counted in outside_observations"
        )


def _spread(bounds: Array, shape: tuple[int, ...]) -> Array:
    found = np.broadcast_to(bounds, shape)
    return found.copy() if found.size <= SPREAD else found


def _boxes(path: str, space: Any, parts: Parts) -> Iterator[tuple[str, Any, Part]]:
    """Each leaf of the tree, with its path and its space."""
    if isinstance(parts, dict) or type(parts) is tuple:
        entries = parts.items() if isinstance(parts, dict) else enumerate(parts)
        for name, each in entries:
            yield from _boxes(f"{path}/{name}" if path else str(name), space[name], each)
    else:
        yield path, space, parts


def _bounds(leaf: int, path: str, space: Any, part: Part) -> _Bounds | None:
    if not isinstance(space, gym_spaces.Box):
        return None
    low, high = _rounded(space.low, part, -np.inf), _rounded(space.high, part, np.inf)
    least, most = (0, 255) if part.dtype == "uint8" else (0, 1) if space.dtype == bool else (-np.inf, np.inf)
    if bool((low <= least).all()) and bool((high >= most).all()):
        return None
    return _Bounds(leaf, place("observation", path), low, high)


def _rounded(exact: Array, part: Part, outwards: float) -> Array:
    """Bounds [D] of the type that numbers have once they are narrowed, and never tighter than the exact ones: rounding
    moves no number beyond them.
    """
    if part.dtype == "uint8":
        return exact.ravel()
    with np.errstate(over="ignore"):  # beyond float32: no number that can be learned from is as large
        rounded = exact.ravel().astype(np.float32)
        wider = np.nextafter(rounded, np.float32(outwards))
    tighter = rounded > exact.ravel() if outwards < 0 else rounded < exact.ravel()
    found: Array = np.where(tighter, wider, rounded)
    return found
