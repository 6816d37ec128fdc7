"""Named tensors in one block of shared memory.

One block means one file descriptor to hand to a worker, and nothing under a name in the file system: torch unlinks it
at once, so that even ``kill -9`` leaves nothing behind.
"""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from marl.data.layout import Layout, Tree, Values
from marl.errors import ConfigError


class SharedBlock:
    """A dictionary of tensors that every process sees; pickling it to a worker hands over the memory, not a copy."""

    def __init__(self, fields: Mapping[str, Tree], memory: Tensor | None = None) -> None:
        self._fields = dict(fields)
        layout = Layout(self._fields)
        self._memory = _shared(max(layout.num_bytes, 1)) if memory is None else memory
        self._values: dict[str, Values] = layout.open(self._memory[: layout.num_bytes])

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._values[name]
        return tensor

    def tree(self, name: str) -> Values:
        """The tensors of a field that is a tree."""
        return self._values[name]

    def names(self) -> list[str]:
        """Names of all fields, in the order of the layout."""
        return list(self._fields)

    def __reduce__(self) -> tuple[type["SharedBlock"], tuple[dict[str, Tree], Tensor]]:
        return SharedBlock, (self._fields, self._memory)


def _shared(size: int) -> Tensor:
    """So many bytes of shared memory, all zero.

    Raises:
        ConfigError: the system has less.
    """
    try:
        return torch.zeros(size, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call, no-any-return]
    except (RuntimeError, MemoryError, OSError) as error:
        if begun := re.search(r"<(/torch_\w+)>", str(error)):  # torch leaves what it cannot make so large
            with contextlib.suppress(OSError):
                Path(f"/dev/shm{begun[1]}").unlink()
        raise ConfigError(
            f"expected {size / 2**20:,.1f} MiB of shared memory, the system has not so much: make network.hidden, "
            "replay.capacity or exchange.queue smaller, or take fewer node.workers "
            "(a container gets more by docker run --shm-size=1g)"
        ) from error


def memory_bytes(fields: Mapping[str, Tree]) -> int:
    """Bytes of a block of these fields, before there is one."""
    return Layout(fields).num_bytes
