"""What a network sees of observations: rows of numbers, normalised, or narrowed to the types that it takes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from marl.data.layout import Leaf, Values, dtype_name, mapped, named
from marl.data.normalizer import Normalizer
from marl.data.spaces import Spaces


class Preprocess:
    """Turns rows [..., D] of each leaf, as the environment has them, into those that the network sees.

    A normaliser counts the numbers that are measured; categories have no mean.
    """

    def __init__(self, spaces: Spaces) -> None:
        self._raw, self._narrow = spaces.raw, spaces.observation()
        self._one = isinstance(self._raw, Leaf)

    def __call__(self, rows: Values, normalizer: Normalizer | None) -> Values:
        """``normalizer``: None: nothing is normalised."""
        if normalizer is None:
            return mapped(_narrowed, self._narrow, rows)
        whole = normalizer(self.numbers(rows))
        if self._one:
            return whole
        end = 0

        def seen(leaf: Leaf, narrow: Leaf, each: npt.NDArray[Any]) -> npt.NDArray[Any]:
            nonlocal end
            if leaf.categories:
                return _narrowed(narrow, each)
            start, end = end, end + each.shape[-1]
            return whole[..., start:end]

        return mapped(seen, self._raw, self._narrow, rows)

    def numbers(self, rows: Values) -> npt.NDArray[Any]:
        """What a normaliser counts [..., D], side by side; of one leaf, its own rows."""
        if self._one:
            array: npt.NDArray[Any] = rows
            return array
        leaves = zip(named(self._raw, self._raw), named(self._raw, rows), strict=True)
        return np.concatenate([each for (_, leaf), (_, each) in leaves if not leaf.categories], axis=-1)


def _narrowed(leaf: Leaf, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return rows.astype(dtype_name(leaf.dtype))
