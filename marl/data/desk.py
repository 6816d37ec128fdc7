"""Where environments and whoever decides for them meet: one desk for each group of environments of a worker.

A worker lays down what its environments answered and counts it as asked; whoever has the actions lays them beside and
says which question they answer. Each count has one writer, so that neither side can block the other, and a worker that
takes the place of one that was killed simply asks anew: nobody mistakes an answer to the old question for one to it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from marl.data.shared import Field, field_offsets, memory_bytes
from marl.errors import MessageRefused

WORKER, GROUP, QUESTION, FIRST, NUM_LAST = range(5)  # of the header
TERMINATED, TRUNCATED, VALID = range(3)  # of the ends
ASKED, ANSWERED, BEGUN = range(3)  # columns of the counts; a desk on which more is begun than asked is not whole
GROUPS = 2  # of each worker, in turns: one plays while the other's observations travel

Desks = Mapping[str, npt.NDArray[Any]]  # by field, [K, ...] of K desks


class DeskLayout(NamedTuple):
    """Where on a desk everything lies; both ends make it from the same settings."""

    fields: dict[str, Field]
    num_environments: int  # of a group
    action: Field  # a single one
    num_bytes: int

    def open(self, memory: npt.NDArray[np.uint8]) -> Desks:
        """The desks in this memory [K, num_bytes], field by field [K, ...], without a copy."""
        opened = {}
        for (name, field), offset in zip(self.fields.items(), field_offsets(self.fields), strict=True):
            dtype = torch.empty(0, dtype=field.dtype).numpy().dtype
            inner = np.ndarray(field.shape, dtype).strides
            shape, strides = (len(memory), *field.shape), (memory.strides[0], *inner)
            opened[name] = np.ndarray(shape, dtype, memory.data, offset, strides)
        return opened


def desk_layout(*, environments: int, observation: Field, action: Field) -> DeskLayout:
    """For groups of so many environments; ``observation`` and ``action`` are single ones."""
    fields = {
        "header": Field((8,), torch.int64),
        "observations": Field((environments, *observation.shape), observation.dtype),
        "rewards": Field((environments,), torch.float32),
        "ends": Field((3, environments), torch.uint8),
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


def check_desks(desks: Desks) -> None:
    """Whether what came from elsewhere can be answers of environments.

    Raises:
        MessageRefused: something in them cannot be.
    """
    header = desks["header"]
    count = desks["rewards"].shape[1]
    if header[:, :5].min() < 0 or header[:, GROUP].max() >= GROUPS or header[:, NUM_LAST].max() > count:
        raise MessageRefused(f"observations say {header[:, :5].tolist()!s:.200} of themselves, which cannot be")
    if desks["ends"].max() > 1:
        raise MessageRefused("ends of observations: expected bytes of 0 and 1")
    for desk in np.flatnonzero(header[:, NUM_LAST]):
        num_last = int(header[desk, NUM_LAST])
        index = desks["last_index"][desk, :num_last]
        if not 0 <= int(index.min()) <= int(index.max()) < count:
            raise MessageRefused("observations have a cut episode outside their environments")
        _demand_finite(desks["last_observations"][desk, :num_last])
    _demand_finite(desks["observations"])
    _demand_finite(desks["rewards"])


def _demand_finite(numbers: npt.NDArray[Any]) -> None:
    if not np.isfinite(numbers).all():
        raise MessageRefused("observations have a number that is not finite")
