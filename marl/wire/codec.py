"""The interface of codecs: a delta of the weights into fewer bytes, and back into the same bits everywhere."""

from typing import Protocol

import torch
from torch import Tensor

from marl.errors import WeightsRefused

CODECS = ("float32", "bfloat16", "float16", "int8", "int4")  # from exact to small
TILE = 256 * 1024  # floats: large against the cost of a call, small against the last-level cache


class Codec(Protocol):
    """Encodes flat float32 vectors, with error feedback: what one message rounds away is added to the next.

        codec.encode(delta, error, payload, pending=delta)       # the residue overwrites the delta
        ...                                                      # merged: error, delta = delta, error
        codec.decode(payload, new, base=weights)                 # at both ends: new = weights + decoded

    All tensors are contiguous and on the CPU; payloads are uint8. A codec owns scratch memory: one per thread.
    """

    name: str

    def num_bytes(self, num_weights: int) -> int:
        """Bytes of the payload for a number of weights."""

    def encode(self, delta: Tensor, error: Tensor | None, out: Tensor, pending: Tensor | None = None) -> None:
        """Write ``delta + error`` [N] into ``out`` [num_bytes(N)], and what was rounded away into ``pending`` [N].

        ``pending`` may be ``delta`` or ``error`` itself; without it nothing is remembered.

        Raises:
            WeightsRefused: a number is not finite or too large to encode; ``out`` and ``pending`` are worthless then.
        """

    def decode(self, payload: Tensor, out: Tensor, base: Tensor | None = None) -> None:
        """Write the decoded delta [N], or ``base`` plus it, into ``out``, which may be ``base``.

        A multiplication by the scale, then an addition, each rounded to float32: never one fused operation, whose bits
        would depend on the machine.

        Raises:
            WeightsRefused: the payload has another length, or numbers or scales that no encoder writes. ``out`` was
                not touched.
        """


def check_length(codec: Codec, payload: Tensor, num_weights: int) -> None:
    """Refuse a payload whose length does not fit the weights."""
    expected = codec.num_bytes(num_weights)
    if payload.dtype != torch.uint8 or payload.shape != (expected,):
        raise WeightsRefused(
            f"{codec.name}: expected {expected} bytes for {num_weights} weights, got {payload.dtype} "
            f"{list(payload.shape)}: parent and child disagree about the network or the codec"
        )
