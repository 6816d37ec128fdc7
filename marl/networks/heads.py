"""What makes outputs of features: linear layers with an orthogonal start, or a user's own."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from marl.networks.own_module import ROWS, TIMES, demand_shape, own_module
from marl.networks.settings import NetworkSettings


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


def make_head(
    features: int, outputs: int, settings: NetworkSettings, gain: float, generator: torch.Generator
) -> nn.Module:
    """The head that the settings name. A user's own is made as ``Class(features, outputs, settings)``.

    Args:
        gain: of a built-in one.

    Raises:
        PluginError: there is no such class, it cannot be made, or its outputs do not fit.
    """
    name = settings.head
    if name is None or name == "linear":
        return linear(features, outputs, gain, generator)
    seed = int(torch.randint(2**31, (), generator=generator))
    own = own_module("network.head", name, seed, features=features, outputs=outputs, settings=settings)
    remedy = f"the last dimension has to be the constructor's outputs, {outputs}, the others those of the features"
    for leading in ((ROWS,), (TIMES, ROWS)):
        seen = torch.zeros(*leading, features)
        tried, expected = partial(own.forward, seen), (*leading, outputs)
        demand_shape(f"network.head: {name}", "forward", seen, expected, tried, remedy=remedy, what="features")
    return own


def forward_of(head: nn.Module) -> Callable[[Tensor], Tensor]:
    """What turns features [..., F] into outputs [..., outputs]; holds the tensors of a built-in head."""
    if isinstance(head, Linear):
        return partial(functional.linear, weight=head.weight, bias=head.bias)
    return head.forward
