"""The codec that parent and child agreed on, with error feedback: the rounding error goes into the next message."""

import torch
from torch import Tensor

from marl.training.saved.weights_file import copy_exactly
from marl.wire.codec import CODECS, Codec
from marl.wire.compression import build_codec
from marl.wire.message import Value


class Rounding:
    """Encodes N numbers of one sender, again and again; as float32, until the parent chooses another codec."""

    def __init__(self, size: int) -> None:
        self.codec: Codec | None = None  # None: float32, nothing is rounded
        self.name = "float32"
        self._size = size
        self.up = self.down = torch.empty(0, dtype=torch.uint8)  # encoded weights, on their way
        self._error = self._next_error = torch.zeros(0)  # [N]  of the last merged upload, and of the one under way

    def use(self, name: Value) -> None:
        """Use the codec that the parent has chosen; rounding errors begin at 0."""
        if name == self.name or name not in CODECS:
            return
        self.name = str(name)
        self.codec = None if name == "float32" else build_codec(self.name)
        if self.codec is not None:
            self._error, self._next_error = torch.zeros(self._size), torch.zeros(self._size)
            self.up = torch.empty(self.codec.num_bytes(self._size), dtype=torch.uint8)
            self.down = torch.empty_like(self.up)

    def encode_delta(self, weights: Tensor, base: Tensor) -> Tensor:
        """Encode the delta from ``base`` to ``weights``, plus the rounding error of the last merged upload.

        Raises:
            WeightsRefused: it is not finite.
        """
        return self.encode(torch.sub(weights, base, out=self._next_error))

    def encode(self, numbers: Tensor) -> Tensor:
        """Encode ``numbers`` [N], plus the rounding error of the last merged message, into ``up``.

        Raises:
            WeightsRefused: the sum is not finite, or too large for the codec.
        """
        assert self.codec is not None
        self.codec.encode(numbers, self._error, self.up, pending=self._next_error)
        return self.up

    def merged(self) -> None:
        """The last message was merged: the next one includes its rounding error."""
        self._error, self._next_error = self._next_error, self._error

    def error(self) -> Tensor | None:
        """A copy of the rounding error [N] that the next message includes; None: nothing is rounded."""
        return None if self.codec is None else self._error.clone()

    def restore(self, error: Tensor) -> None:
        """Go on with the rounding error of a checkpoint, if this codec rounds."""
        if self.codec is not None:
            copy_exactly(self._error, error, "the checkpoint's error")

    def forget(self) -> None:
        """Drop the rounding error."""
        self._error.zero_()  # has no elements with float32
