"""Checks of the optimizers' moments that children upload: mean gradients and mean squared gradients, [P] each."""

import torch
from torch import Tensor

from marl.errors import WeightsRefused

LARGEST = 1e18  # squares of longer ones are no float32


def check_moment(moment: Tensor, *, squared: bool, most: float) -> float:
    """The length of a moment [P]: its norm, or the sum of its numbers if they are mean squares.

    Args:
        most: a longer one was never made of gradients; infinite: not known.

    Raises:
        WeightsRefused: it is not finite, is too long, or has a mean square below 0.
    """
    if squared and bool((moment < 0).any()):
        raise WeightsRefused("expected mean squared gradients of at least 0 in the optimizer's moments, got less")
    length = float(moment.sum(dtype=torch.float64) if squared else torch.linalg.vector_norm(moment))
    if not length < LARGEST:  # true for NaN
        raise WeightsRefused("expected finite moments of the optimizer, got NaN, infinity or nearly that")
    if length > most:
        raise WeightsRefused(
            f"expected moments of the optimizer that its gradients allow, {most:.3g} long at most, got {length:.3g}"
        )
    return length


def bound_mean(mean: Tensor, square: Tensor, ratio: float) -> None:
    """Make a mean gradient [P] no larger than ``ratio`` roots of the mean square, in place: an optimizer divides by it.

    Adam's own moments keep to ``|m| <= ratio sqrt(v)`` (Cauchy's inequality); so do weighted means of such moments.
    """
    most = square.sqrt().mul_(ratio)
    torch.minimum(mean, most, out=mean)
    torch.maximum(mean, most.neg_(), out=mean)
