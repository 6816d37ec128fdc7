"""The codec that parent and child agreed on, with error feedback: the rounding error goes into the next message."""

import torch
from torch import Tensor

from marl.training.saved.weights_file import copy_exactly
from marl.wire.codec import CODECS, Codec
from marl.wire.compression import build_codec
from marl.wire.message import Value

WHOLE = slice(None)  # all numbers


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

    def encode_delta(self, weights: Tensor, base: Tensor, part: slice = WHOLE) -> Tensor:
        """Encode the delta from ``base`` to ``weights`` in this ``part`` of them, plus its last merged rounding error.

        Raises:
            WeightsRefused: it is not finite.
        """
        return self.encode(torch.sub(weights[part], base[part], out=self._next_error[part]), part)

    def encode(self, numbers: Tensor, part: slice = WHOLE) -> Tensor:
        """Encode the ``numbers`` of a part, plus the rounding error of its last merged message, into ``up``.

        Raises:
            WeightsRefused: the sum is not finite, or too large for the codec.
        """
        assert self.codec is not None
        up = self.up[: self.codec.num_bytes(numbers.numel())]
        self.codec.encode(numbers, self._error[part], up, pending=self._next_error[part])
        return up

    def decode(self, base: Tensor, out: Tensor) -> None:
        """Add the delta that lies in ``down`` to ``base``, as many numbers as there are.

        Raises:
            WeightsRefused: it cannot be decoded.
        """
        assert self.codec is not None
        self.codec.decode(self.down[: self.codec.num_bytes(out.numel())], out, base=base)

    def merged(self, part: slice = WHOLE) -> None:
        """The last message, of this part, was merged: the next one includes its rounding error."""
        if self._error[part].numel() == self._error.numel():
            self._error, self._next_error = self._next_error, self._error
        else:
            self._error[part].copy_(self._next_error[part])

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
