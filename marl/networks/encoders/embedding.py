"""Tables of learned features, for categories that are too many for a row with a 1 for each."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from marl.data.spaces import Part
from marl.networks.encoders.inputs import offsets_of

MANY = 1024  # categories of one number: with more, there is a table
WIDTH = 32  # features of one number


def needs_table(part: Part) -> bool:
    """Whether one of a leaf's numbers has many categories."""
    return max(part.categories, default=0) > MANY


class Embedding(nn.Module):
    """Features [..., size] of categories [..., D]: for each number a row of one table, which has the rows of the first
    number's categories first.
    """

    def __init__(self, part: Part, generator: torch.Generator) -> None:
        super().__init__()
        self.size = WIDTH * part.size
        self.table = nn.Parameter(torch.empty(sum(part.categories), WIDTH))
        self._offsets = offsets_of(part)
        with torch.no_grad():
            self.table.normal_(generator=generator)

    def forward(self, categories: Tensor) -> Tensor:
        """See the class."""
        where = categories.long() + self._offsets.to(categories.device)
        return functional.embedding(where, self.table).flatten(-2)
