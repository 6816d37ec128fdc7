"""What a network sees of observations: rows of numbers, normalised, or narrowed to the types that it takes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from marl.data.layout import Leaf, Values, dtype_name, mapped
from marl.data.normalizer import Normalizer
from marl.data.spaces import Part, Spaces, values_of

Array = npt.NDArray[Any]


class Preprocess:
    """Turns rows [..., D] of each leaf, as the environment has them, into those that the network sees.

    A normaliser counts the numbers that are measured: categories and pixels have no mean.
    """

    def __init__(self, spaces: Spaces) -> None:
        self._parts, self._narrow = spaces.observations, spaces.observation()
        self._measured = spaces.measured_size
        self._one = isinstance(self._parts, Part) and self._parts.is_measured
        # Whether rows are what the network sees, where nothing normalises them.
        self.changes_nothing = not spaces.is_wide

    def __call__(self, rows: Values, normalizer: Normalizer | None) -> Values:
        """``normalizer``: None: nothing is normalised."""
        if normalizer is None or not self._measured:
            return mapped(_narrowed, self._narrow, rows)
        whole = normalizer(self.numbers(rows))
        if self._one:
            return whole
        end = 0

        def seen(part: Part, narrow: Leaf, each: Array) -> Array:
            nonlocal end
            if not part.is_measured:
                return _narrowed(narrow, each)
            start, end = end, end + each.shape[-1]
            return whole[..., start:end]

        return mapped(seen, self._parts, self._narrow, rows)

    def numbers(self, rows: Values) -> Array:
        """What a normaliser counts [..., D], side by side; of one leaf, its own rows."""
        if self._one:
            array: Array = rows
            return array
        pairs = values_of(self._parts, rows)
        measured = [each for part, each in pairs if part.is_measured]
        return np.concatenate(measured, axis=-1) if measured else np.zeros((*pairs[0][1].shape[:-1], 0))


def _narrowed(leaf: Leaf, rows: Array) -> Array:
    return rows.astype(dtype_name(leaf.dtype))
