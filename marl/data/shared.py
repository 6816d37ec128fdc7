"""Named tensors in one block of shared memory.

One block means one file descriptor to hand to a worker, and nothing under a name in the file system: torch unlinks it
at once, so that even ``kill -9`` leaves nothing behind.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from marl.errors import ConfigError

ALIGNMENT = 64  # one cache line: two workers' slots never share one


class Field(NamedTuple):
    """Shape and type of one named tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class SharedBlock:
    """A dictionary of tensors that every process sees; pickling it to a worker hands over the memory, not a copy."""

    def __init__(self, fields: Mapping[str, Field], memory: Tensor | None = None) -> None:
        self._fields = dict(fields)
        offsets, size = _offsets(self._fields)
        self._memory = memory = _shared(max(size, 1)) if memory is None else memory
        self._tensors = {
            name: memory[offset : offset + _num_bytes(field)].view(field.dtype).view(field.shape)
            for (name, field), offset in zip(self._fields.items(), offsets, strict=True)
        }

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def names(self) -> list[str]:
        """Names of all tensors, in the order of the layout."""
        return list(self._fields)

    def __reduce__(self) -> tuple[type["SharedBlock"], tuple[dict[str, Field], Tensor]]:
        return SharedBlock, (self._fields, self._memory)


def _shared(size: int) -> Tensor:
    """So many bytes of shared memory, all zero.

    Raises:
        ConfigError: the system has not so many.
    """
    try:
        return torch.zeros(size, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call, no-any-return]
    except (RuntimeError, MemoryError, OSError) as error:
        raise ConfigError(
            f"expected {size / 2**20:,.1f} MiB of shared memory, the system has not so much: make network.hidden, "
            "replay.capacity or exchange.queue smaller, or take fewer node.workers "
            "(a container gets more by docker run --shm-size=1g)"
        ) from error


def memory_bytes(fields: Mapping[str, Field]) -> int:
    """What a block of these fields takes, for whoever asks before there is one."""
    return _offsets(fields)[1]


def field_offsets(fields: Mapping[str, Field]) -> list[int]:
    """Where in a block each of these fields begins, in bytes."""
    return _offsets(fields)[0]


def _num_bytes(field: Field) -> int:
    return math.prod(field.shape) * field.dtype.itemsize


def _offsets(fields: Mapping[str, Field]) -> tuple[list[int], int]:
    offsets, end = [], 0
    for field in fields.values():
        offsets.append(end)
        end += -(-_num_bytes(field) // ALIGNMENT) * ALIGNMENT
    return offsets, end
