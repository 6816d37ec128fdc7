"""A network's weights as one flat vector.

Parameters (tied ones once), then float buffers, which take no gradient. Sharing, snapshots, averaging and message
lengths all refer to this vector.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Flat(NamedTuple):
    """A network whose parameters and gradients are views of two vectors."""

    weights: Tensor  # [P + F]
    gradient: Tensor  # [P]  zero it yourself: ``zero_grad`` would replace the views by None

    def num_bytes(self) -> int:
        """Length of the weights, on which parent and child have to agree."""
        return 4 * self.weights.numel()


def flatten(network: nn.Module, device: torch.device | None = None) -> Flat:
    """Move the network's numbers into one vector, on ``device`` or the CPU, and make its parameters views of it."""
    if device is not None:
        network.to(device)  # also the buffers that are not floats
    parameters = list(network.parameters())  # tied parameters are listed once
    weights = torch.zeros(num_weights(network), device=device)
    gradient = torch.zeros(num_parameters(network), device=device)
    offset = 0
    for tensor in [*parameters, *_float_buffers(network)]:
        place = weights[offset : offset + tensor.numel()].view_as(tensor)
        place.copy_(tensor.detach())
        tensor.data = place
        if isinstance(tensor, nn.Parameter):
            tensor.grad = gradient[offset : offset + tensor.numel()].view_as(tensor)
        offset += tensor.numel()
    return Flat(weights, gradient)


def num_weights(network: nn.Module) -> int:
    """Length of the vector that ``flatten`` makes."""
    return sum(tensor.numel() for tensor in [*network.parameters(), *_float_buffers(network)])


def num_parameters(network: nn.Module) -> int:
    """How many numbers at the start of that vector are parameters, which gradients move."""
    return sum(tensor.numel() for tensor in network.parameters())


def _float_buffers(network: nn.Module) -> list[Tensor]:
    return [buffer for buffer in network.buffers() if buffer.is_floating_point()]
