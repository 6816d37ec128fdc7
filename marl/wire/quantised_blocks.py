"""Integers of 8 or 4 bits with one float32 scale a block.

Payload: all scales, then all integers. A byte of int4 holds element i of its block low and element i + 64 high, each
plus 8. For x in a block of scale s (its largest magnitude / 127 or / 7) the decoded number is within s / 2 of x, up to
the last bits of float32.
"""

import torch
from torch import Tensor

from marl.errors import WeightsRefused
from marl.wire.codec import TILE, check_length

SMALLEST_SCALE = torch.finfo(torch.float32).tiny  # below it, scales lose bits, and machines differ in denormals


class BlockCodec:
    """int8 or int4; see ``Codec`` for the promise."""

    def __init__(self, *, bits: int, block: int) -> None:
        self.name = f"int{bits}"
        self._bits = bits
        self._block = block
        self._levels = 2 ** (bits - 1) - 1
        self._largest_scale = 2.0 ** (128 - bits)  # times any integer of ``bits`` bits it is still finite
        self._sum = torch.empty(TILE)
        self._rounded = torch.empty(TILE)
        self._packed = torch.empty(TILE // 2)
        self._bytes = torch.empty(TILE, dtype=torch.uint8)
        self._high = torch.empty(TILE // block)
        self._low = torch.empty(TILE // block)

    def num_bytes(self, num_weights: int) -> int:
        """Bytes of the payload for a number of weights."""
        return 4 * self._num_blocks(num_weights) + self._packed_bytes(num_weights)

    def encode(self, delta: Tensor, error: Tensor | None, out: Tensor, pending: Tensor | None = None) -> None:
        """See ``Codec.encode``."""
        check_length(self, out, delta.numel())
        all_scales, integers = self._parts(out, delta.numel())
        for start in range(0, delta.numel(), TILE):
            tile = slice(start, start + TILE)
            total, rows = self._sum_tile(delta[tile], None if error is None else error[tile])
            scales = all_scales[start // self._block :][: len(rows)]
            rounded = self._quantise(rows, scales)
            self._pack(rounded, integers[self._packed_bytes(start) : self._packed_bytes(start + total.numel())])
            if pending is not None:
                decoded = rounded.mul_(scales[:, None]).view(-1)[: total.numel()]
                torch.sub(total, decoded, out=pending[tile])
        self._check_scales(all_scales)

    def decode(self, payload: Tensor, out: Tensor, base: Tensor | None = None) -> None:
        """See ``Codec.decode``."""
        check_length(self, payload, out.numel())
        all_scales, integers = self._parts(payload, out.numel())
        self._check_scales(all_scales)
        for start in range(0, out.numel(), TILE):
            target = out[start : start + TILE]
            scales = all_scales[start // self._block :][: self._num_blocks(target.numel())]
            # A tile of whole blocks is decoded in place; the last one may need room for a whole block.
            direct = base is None and target.numel() == len(scales) * self._block
            rows = (target if direct else self._rounded[: len(scales) * self._block]).view(-1, self._block)
            self._unpack(integers[self._packed_bytes(start) : self._packed_bytes(start + target.numel())], rows)
            decoded = rows.mul_(scales[:, None]).view(-1)[: target.numel()]
            if base is not None:
                torch.add(base[start : start + TILE], decoded, out=target)
            elif not direct:
                target.copy_(decoded)

    def _num_blocks(self, num_weights: int) -> int:
        return -(-num_weights // self._block)

    def _packed_bytes(self, num_weights: int) -> int:
        """Bytes of the integers; a last block that is not full needs no more bytes than it has numbers."""
        if self._bits == 8:
            return num_weights
        whole, rest = divmod(num_weights, self._block)
        return whole * self._block // 2 + min(rest, self._block // 2)

    def _parts(self, payload: Tensor, num_weights: int) -> tuple[Tensor, Tensor]:
        size = 4 * self._num_blocks(num_weights)
        return payload[:size].view(torch.float32), payload[size:]

    def _sum_tile(self, delta: Tensor, error: Tensor | None) -> tuple[Tensor, Tensor]:
        """delta + error, and the same as rows of whole blocks, the rest of the last one zero."""
        size = delta.numel()
        rows = self._sum[: self._num_blocks(size) * self._block]
        rows[size:].zero_()
        total = rows[:size]
        if error is None:
            total.copy_(delta)
        else:
            torch.add(delta, error, out=total)
        return total, rows.view(-1, self._block)

    def _quantise(self, rows: Tensor, scales: Tensor) -> Tensor:
        """Fill ``scales`` and return the integers, as floats, in scratch memory."""
        high, low = self._high[: len(rows)], self._low[: len(rows)]
        torch.amax(rows, 1, out=high)
        torch.amin(rows, 1, out=low)
        torch.maximum(high, low.neg_(), out=high)
        torch.div(high, self._levels, out=scales).clamp_(min=SMALLEST_SCALE)
        rounded = self._rounded[: rows.numel()].view_as(rows)
        return torch.mul(rows, torch.reciprocal(scales, out=low)[:, None], out=rounded).round_()

    def _pack(self, rounded: Tensor, out: Tensor) -> None:
        # Float to int8 is vectorised, float to uint8 is 8 times slower: convert signed, then shift.
        if self._bits == 8:
            out.view(torch.int8).copy_(rounded.view(-1)[: out.numel()])
            return
        half = self._block // 2
        packed = self._packed[: rounded.numel() // 2]
        torch.add(rounded[:, :half], rounded[:, half:], alpha=16, out=packed.view(-1, half))
        out.view(torch.int8).copy_(packed[: out.numel()])
        out.add_(8 + 16 * 8)

    def _unpack(self, integers: Tensor, rows: Tensor) -> None:
        if self._bits == 8:
            rows.view(-1)[: integers.numel()].copy_(integers.view(torch.int8))
            return
        half = self._block // 2
        whole = rows.numel() // 2
        pairs = self._bytes[: rows.numel()].view(-1, 2, half)
        if integers.numel() < whole:
            padded = torch.zeros(whole, dtype=torch.uint8)  # once a vector, for its last tile
            padded[: integers.numel()] = integers
            integers = padded
        torch.bitwise_and(integers.view(-1, half), 15, out=pairs[:, 0])
        torch.bitwise_right_shift(integers.view(-1, half), 4, out=pairs[:, 1])
        rows.copy_(pairs.sub_(8).view(torch.int8).view_as(rows))

    def _check_scales(self, scales: Tensor) -> None:
        inside = (scales >= SMALLEST_SCALE) & (scales <= self._largest_scale)  # both false for NaN
        if not bool(inside.all()):
            worst = float(scales[~inside][0])
            raise WeightsRefused(
                f"{self.name}: expected scales between {SMALLEST_SCALE:.3g} and {self._largest_scale:.3g}, "
                f"got {worst}: a number is not finite or too large"
            )
