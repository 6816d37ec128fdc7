"""Codecs by name, and the three that keep each number by itself: float32, bfloat16, float16."""

import math

import torch
from torch import Tensor

from marl.errors import WeightsRefused
from marl.wire.codec import CODECS, TILE, Codec, check_length
from marl.wire.quantised_blocks import BlockCodec


def build_codec(name: str) -> Codec:
    """A codec of one's own: it holds scratch memory, so each thread needs another."""
    match name:
        case "float32":
            return FloatCodec(torch.float32)
        case "bfloat16":
            return FloatCodec(torch.bfloat16)
        case "float16":
            return FloatCodec(torch.float16)
        case "int8":
            return BlockCodec(bits=8, block=1024)
        case "int4":
            return BlockCodec(bits=4, block=128)
    raise ValueError(f"expected a codec out of {', '.join(CODECS)}, got {name!r}")


class FloatCodec:
    """Each number as a shorter float; beyond its range it saturates, and the rest is added to the next message."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.name = str(dtype).removeprefix("torch.")
        self._dtype = dtype
        self._largest = torch.finfo(dtype).max
        self._sum = torch.empty(TILE)
        self._decoded = torch.empty(TILE)

    def num_bytes(self, num_weights: int) -> int:
        """Bytes of the payload for a number of weights."""
        return num_weights * self._dtype.itemsize

    def encode(self, delta: Tensor, error: Tensor | None, out: Tensor, pending: Tensor | None = None) -> None:
        """See ``Codec.encode``."""
        check_length(self, out, delta.numel())
        halves = out.view(self._dtype)
        for start in range(0, delta.numel(), TILE):
            tile = slice(start, start + TILE)
            total = delta[tile]
            if error is not None:
                total = torch.add(total, error[tile], out=self._sum[: total.numel()])
            _check_finite(self.name, total)
            torch.clamp(total, -self._largest, self._largest, out=(clamped := self._decoded[: total.numel()]))
            halves[tile].copy_(clamped)
            if pending is not None:
                torch.sub(total, clamped.copy_(halves[tile]), out=pending[tile])

    def decode(self, payload: Tensor, out: Tensor, base: Tensor | None = None) -> None:
        """See ``Codec.decode``."""
        check_length(self, payload, out.numel())
        halves = payload.view(self._dtype)
        for start in range(0, out.numel(), TILE):
            _check_finite(self.name, halves[start : start + TILE])
        for start in range(0, out.numel(), TILE):
            tile = slice(start, start + TILE)
            if base is None:
                out[tile].copy_(halves[tile])
            else:
                decoded = self._decoded[: out[tile].numel()].copy_(halves[tile])
                torch.add(base[tile], decoded, out=out[tile])


def _check_finite(name: str, numbers: Tensor) -> None:
    # One pass, no temporary; both ends are NaN as soon as one number is.
    low, high = torch.aminmax(numbers)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise WeightsRefused(f"{name}: expected finite numbers, got between {float(low)} and {float(high)}")
