"""One pass over a delta of the weights: is it finite, and how long is it?"""

import math

import numpy as np
import torch
from torch import Tensor

from marl.errors import WeightsRefused

TILE = 256 * 1024  # floats: the difference stays in the caches, and a tile outweighs the calls it takes


class DeltaMeter:
    """Measures ``weights - base`` without storing it; owns one tile of scratch memory, so one per thread."""

    def __init__(self) -> None:
        self._difference = np.empty(TILE, np.float32)

    def norm(self, weights: Tensor, base: Tensor | None = None) -> float:
        """The Euclidean norm of ``weights - base`` [N], or of ``weights`` where they are a delta already.

        Raises:
            WeightsRefused: a number is not finite, or so large (above 1e19) that its square is not.
        """
        squares = self.squares(weights, base)
        if not math.isfinite(squares):
            raise WeightsRefused("expected finite weights within 1e19 of the last ones, got NaN, infinity or more")
        return math.sqrt(squares)

    def squares(self, weights: Tensor, base: Tensor | None = None) -> float:
        """The sum of squares of ``weights - base``: not finite as soon as one number is not."""
        # numpy's subtraction and dot product: a fifth faster than torch's, and this pass decides what checks cost.
        total = 0.0
        numbers, start_from = weights.numpy(), None if base is None else base.numpy()
        with np.errstate(all="ignore"):
            for start in range(0, len(numbers), TILE):
                tile = numbers[start : start + TILE]
                if start_from is not None:
                    tile = np.subtract(tile, start_from[start : start + TILE], self._difference[: len(tile)])
                total += float(np.dot(tile, tile))
        return total


def check_vector(vector: Tensor, num_weights: int) -> None:
    """Refuse anything but a flat float32 vector of the agreed length."""
    if vector.dtype != torch.float32 or vector.shape != (num_weights,):
        raise WeightsRefused(
            f"expected {num_weights} weights of float32, got {vector.dtype} {list(vector.shape)}: "
            "parent and child disagree about the network"
        )
