"""The codec that parent and child agreed on, and error feedback: what it rounds away goes into the next upload."""

import torch
from torch import Tensor

from marl.wire.codec import CODECS, Codec
from marl.wire.compression import build_codec
from marl.wire.message import Value


class Rounding:
    """Of a child's N weights; float32 until the parent says otherwise."""

    def __init__(self, size: int) -> None:
        self.codec: Codec | None = None  # None: float32, nothing is rounded
        self._size, self._name = size, "float32"
        self.up = self.down = torch.empty(0, dtype=torch.uint8)  # encoded weights, on their way
        self._error = self._next_error = torch.zeros(0)  # [N]  of the last merged upload, and of the one under way

    def use(self, name: Value) -> None:
        """The parent has chosen; buffers for what is rounded away begin empty."""
        if name == self._name or name not in CODECS:
            return
        self._name = str(name)
        self.codec = None if name == "float32" else build_codec(self._name)
        if self.codec is not None:
            self._error, self._next_error = torch.zeros(self._size), torch.zeros(self._size)
            self.up = torch.empty(self.codec.num_bytes(self._size), dtype=torch.uint8)
            self.down = torch.empty_like(self.up)

    def encode_change(self, weights: Tensor, base: Tensor) -> Tensor:
        """The way from ``base`` to ``weights``, and what was rounded away before, encoded.

        Raises:
            WeightsRefused: it is not finite.
        """
        assert self.codec is not None
        torch.sub(weights, base, out=self._next_error)
        self.codec.encode(self._next_error, self._error, self.up, pending=self._next_error)
        return self.up

    def merged(self) -> None:
        """The last upload counts: the next one makes up for its error."""
        self._error, self._next_error = self._next_error, self._error

    def forget(self) -> None:
        """What was rounded away is given up."""
        self._error.zero_()  # empty where nothing is rounded
