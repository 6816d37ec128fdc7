"""A compressed scale for values of very different sizes, and the way back.

Pohlen et al., "Observe and Look Further: Achieving Consistent Performance on Atari" (2018), proposition A.2:
``h(x) = sign(x) (sqrt(|x| + 1) - 1) + e x``.
"""

import torch
from torch import Tensor

SLOPE = 1e-3  # e: keeps the scale from becoming flat


def compressed(values: Tensor) -> Tensor:
    """h of each value."""
    return values.sign() * ((values.abs() + 1.0).sqrt() - 1.0) + SLOPE * values


def expanded(values: Tensor) -> Tensor:
    """The inverse of ``compressed``.

    The paper's ``(sqrt(1 + 4 e y) - 1) / (2 e)``, with ``y = |x| + 1 + e``, loses half of float32's digits; this is the
    same number, written without a difference.
    """
    shifted = values.abs() + (1.0 + SLOPE)
    root = 2.0 * shifted / (1.0 + torch.sqrt(1.0 + 4.0 * SLOPE * shifted))
    return values.sign() * (root.square() - 1.0)
