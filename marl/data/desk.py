"""Where environments and whoever decides for them meet: one desk for each group of environments of a worker.

A worker lays down what its environments answered and counts it as asked; whoever has the actions lays them beside and
says which question they answer. Each count has one writer, so that neither side can block the other, and a worker that
takes the place of one that was killed simply asks anew: nobody mistakes an answer to the old question for one to it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from marl.data.shared import Field, SharedBlock, memory_bytes
from marl.errors import MessageRefused

WORKER, GROUP, QUESTION, FIRST, NUM_LAST = range(5)  # of the header
ASKED, ANSWERED = range(2)  # columns of the counts
GROUPS = 2  # of each worker, in turns: one plays while the other's observations travel
BOOLEANS = ("terminated", "truncated", "valid")


class DeskLayout(NamedTuple):
    """Where on a desk everything lies; both ends make it from the same settings."""

    fields: dict[str, Field]
    num_environments: int  # of a group
    action: Field  # a single one
    num_bytes: int

    def open(self, memory: Tensor) -> SharedBlock:
        """The desk in this memory [num_bytes] of uint8."""
        return SharedBlock(self.fields, memory)


def desk_layout(*, environments: int, observation: Field, action: Field) -> DeskLayout:
    """For groups of so many environments; ``observation`` and ``action`` are single ones."""
    fields = {
        "header": Field((8,), torch.int64),
        "observations": Field((environments, *observation.shape), observation.dtype),
        "rewards": Field((environments,), torch.float32),
        "terminated": Field((environments,), torch.bool),
        "truncated": Field((environments,), torch.bool),
        "valid": Field((environments,), torch.bool),
        "last_observations": Field((environments, *observation.shape), observation.dtype),
        "last_index": Field((environments,), torch.int64),
    }
    return DeskLayout(fields, environments, action, memory_bytes(fields))


def desk_fields(layout: DeskLayout, workers: int) -> dict[str, Field]:
    """What a node's block needs."""
    return {
        "desks": Field((workers, GROUPS, layout.num_bytes), torch.uint8),
        "desk_counts": Field((workers, GROUPS, 8), torch.int64),
        "desk_actions": Field((workers, GROUPS, layout.num_environments, *layout.action.shape), layout.action.dtype),
    }


def check_desk(desk: SharedBlock) -> None:
    """Whether what came from elsewhere can be an answer of environments.

    Raises:
        MessageRefused: something in it cannot be.
    """
    header = desk["header"]
    count = len(desk["rewards"])
    if bool((header[:5] < 0).any()) or int(header[GROUP]) >= GROUPS or int(header[NUM_LAST]) > count:
        raise MessageRefused(f"observations say {header[:5].tolist()} of themselves, which cannot be")
    for name in BOOLEANS:
        if int(desk[name].view(torch.uint8).max()) > 1:
            raise MessageRefused(f"{name} of observations: expected bytes of 0 and 1")
    num_last = int(header[NUM_LAST])
    index = desk["last_index"][:num_last]
    if num_last and not 0 <= int(index.min()) <= int(index.max()) < count:
        raise MessageRefused("observations have a cut episode outside their environments")
    for tensor in (desk["observations"], desk["rewards"], desk["last_observations"][:num_last]):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise MessageRefused("observations have a number that is not finite")
