"""Linear layers with an orthogonal start."""

import torch
from torch import nn


class Linear(nn.Module):
    """``nn.Linear`` without its own start, which would be thrown away; ``nn.utils.skip_init`` imports for a quarter of
    a second at its first call.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))


def linear(inputs: int, outputs: int, gain: float, generator: torch.Generator) -> Linear:
    """A layer with orthogonal weights of the given gain and no bias at the start."""
    layer = Linear(inputs, outputs)
    with torch.no_grad():
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
    return layer
