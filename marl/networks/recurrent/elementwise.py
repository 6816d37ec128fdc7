"""What the loops over time share: what computes beside matrix products, and how a core's numbers lie for both.

A step of a small core is a dozen operations on a few hundred numbers each. Torch takes longer to start one of them than
to compute it; numpy starts it in a third of the time, and its tanh is several times as fast. Where numpy cannot reach
the memory, torch has the same functions under the same names.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def library_of(tensor: Tensor) -> Any:
    """Numpy, or torch for tensors on another device or of a type that numpy lacks."""
    return np if tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64) else torch


def held_by(library: Any, tensor: Tensor) -> Any:
    """The library's array on a tensor's memory."""
    return tensor.detach().numpy() if library is np else tensor


def steps_of(library: Any, tensor: Tensor) -> tuple[Any, ...]:
    """A tensor [S, ...] as the library's arrays [...], on its memory."""
    return tuple(tensor.numpy()) if library is np else tensor.unbind()


def open_gates(library: Any, halves: Any) -> None:
    """The logistic function of twice these numbers, in their place: (1 + tanh(x / 2)) / 2 is that of x."""
    library.tanh(halves, out=halves)
    library.multiply(halves, 0.5, out=halves)
    library.add(halves, 0.5, out=halves)


def by_gate(inputs: Tensor, num_gates: int) -> Tensor:
    """Inputs [S, B, num_gates H] as [S, num_gates, B, H], on the same memory."""
    return inputs.view(*inputs.shape[:2], num_gates, -1).transpose(1, 2)


def for_gates(states: Tensor, num_gates: int) -> Tensor:
    """States [..., B, H] as [..., num_gates, B, H], on the same memory: a factor of each gate's product."""
    return states.unsqueeze(-3).expand(*states.shape[:-2], num_gates, *states.shape[-2:])


def matrices_of(weight: Tensor, num_gates: int) -> Tensor:
    """A copy of a weight [num_gates H, H] as the other factor of each gate's product [num_gates, H, H]."""
    return weight.view(num_gates, -1, weight.shape[1]).mT.contiguous()


def slopes_of_product(slopes: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of a weight and a bias, of those [S, B, N] of what they make of states [S, B, H]."""
    rows = slopes.flatten(0, 1)
    return rows.T @ before.flatten(0, 1), rows.sum(0)
