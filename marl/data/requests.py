"""Where environments ask for actions: one request slot for each group of environments of a worker.

A worker writes what its environments answered and counts it as asked. The process that has the actions writes them
beside and says which question they answer. Each count has one writer, so that neither side can block the other. A
worker that takes the place of one that was killed asks again: no answer to the old question is mistaken for one to it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from marl.data.layout import Layout, Leaf, Tree, batched, mapped
from marl.data.sound import demand_sound
from marl.errors import MessageRefused

WORKER, GROUP, QUESTION, FIRST, NUM_LAST, PREVIOUS = range(6)  # of the header; the last is for who sends them
TERMINATED, TRUNCATED, VALID = range(3)  # of the ends
ASKED, ANSWERED, BEGUN = range(3)  # columns of the counts; a slot in which more is begun than asked is not whole
BELL = 4  # column of each worker's first group, see ``Bell``: rung when ANSWERED has changed in any of them
GROUPS = 2  # of each worker, in turns: one plays while the other's observations travel
CLAIM = "observations have"  # of what is refused

Requests = Mapping[str, Any]  # of K slots, by field: arrays [K, ...]


class RequestLayout(Layout):
    """Where in a slot everything lies; both ends make it from the same settings."""

    def __init__(self, *, environments: int, observation: Tree, action: Tree) -> None:
        """For groups of this many environments; ``observation`` and ``action`` are single ones."""
        observations = batched(observation, environments)
        super().__init__(
            {
                "header": Leaf((8,), torch.int64),
                "observations": observations,
                "rewards": Leaf((environments,), torch.float32),
                "ends": Leaf((3, environments), torch.uint8, (2,)),
                "last_observations": observations,
                "last_index": Leaf((environments,), torch.int64),
            }
        )
        self.num_environments = environments
        self.actions: Any = batched(action, environments)


def request_fields(layout: RequestLayout, workers: int) -> dict[str, Tree]:
    """What a node's block needs."""
    return {
        "requests": Leaf((workers, GROUPS, layout.num_bytes), torch.uint8),
        "request_counts": Leaf((workers, GROUPS, 8), torch.int64),
        "request_actions": batched(layout.actions, workers, GROUPS),
    }


def check_header(requests: Requests, layout: RequestLayout) -> None:
    """Whether requests that came from elsewhere have numbers and cut episodes that can be.

    Raises:
        MessageRefused: they have not.
    """
    header = requests["header"]
    count = layout.num_environments
    if header[:, :5].min() < 0 or header[:, GROUP].max() >= GROUPS or header[:, NUM_LAST].max() > count:
        raise MessageRefused(f"observations say {header[:, :5].tolist()!s:.200} of themselves, which cannot be")
    for slot in np.flatnonzero(header[:, NUM_LAST]):
        index = requests["last_index"][slot, : int(header[slot, NUM_LAST])]
        if not 0 <= int(index.min()) <= int(index.max()) < count:
            raise MessageRefused("observations have a cut episode outside their environments")


def check_requests(requests: Requests, layout: RequestLayout) -> None:
    """Whether what came from elsewhere can be answers of environments.

    Raises:
        MessageRefused: something in them cannot be.
    """
    check_header(requests, layout)
    for slot in np.flatnonzero(requests["header"][:, NUM_LAST]):
        num_last = int(requests["header"][slot, NUM_LAST])
        last = mapped(lambda each, slot=slot, num_last=num_last: each[slot, :num_last], requests["last_observations"])
        demand_sound(layout.tree["last_observations"], last, CLAIM)
    for name in ("ends", "observations", "rewards"):
        demand_sound(layout.tree[name], requests[name], CLAIM)
