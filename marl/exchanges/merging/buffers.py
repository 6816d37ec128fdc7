"""A few receive buffers for many children. If none is free, an upload waits, and so its sender must wait too."""

import threading

import torch
from torch import Tensor

from marl.errors import MessageRefused

COUNT = 4


class Buffers:
    """Buffers of one size, made when first needed; their number does not grow with the number of children."""

    def __init__(self, num_bytes: int, count: int = COUNT) -> None:
        self._num_bytes = num_bytes
        self._unmade = count
        self._free: list[Tensor] = []
        self._held: dict[str, Tensor] = {}
        self._changed = threading.Condition()
        self._closed = False

    def acquire(self, child: str) -> Tensor:
        """A buffer [num_bytes] for this child, once one is free.

        Raises:
            MessageRefused: the exchange has ended.
        """
        with self._changed:
            if child in self._held:
                return self._held[child]
            self._changed.wait_for(lambda: self._free or self._unmade or self._closed)
            if self._closed:
                raise MessageRefused("the run is over")
            if self._free:
                buffer = self._free.pop()
            else:
                self._unmade -= 1
                buffer = torch.empty(self._num_bytes, dtype=torch.uint8)
            self._held[child] = buffer
            return buffer

    def release(self, child: str) -> None:
        """The child's buffer, if it holds one, is free again."""
        with self._changed:
            buffer = self._held.pop(child, None)
            if buffer is not None:
                self._free.append(buffer)
                self._changed.notify()

    def close(self) -> None:
        """End all waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
