"""Bytes packed by zstandard, and back into memory of a length that both sides agreed on. Needs the extra zstd."""

import importlib.util

import torch
from torch import Tensor

from marl.errors import MessageRefused, MissingExtra
from marl.wire.arrays import bytes_of

LEVEL = 1  # the fastest: on pictures it finds most of what there is to find


def demand_zstd() -> None:
    """Say before a run starts that it cannot pack.

    Raises:
        MissingExtra: zstandard is not installed.
    """
    if importlib.util.find_spec("zstandard") is None:
        raise MissingExtra("zstandard", "zstd", "exchange.zstd = true")


def pack(memory: Tensor) -> Tensor | None:
    """The bytes [N] of ``memory`` [M] of uint8, N < M; None where they would not be fewer."""
    import zstandard

    packed = zstandard.ZstdCompressor(level=LEVEL).compress(bytes_of(memory))
    return torch.frombuffer(bytearray(packed), dtype=torch.uint8) if len(packed) < len(memory) else None


def unpack(packed: Tensor, memory: Tensor) -> None:
    """Fill ``memory`` [M] of uint8: neither more nor fewer bytes than that, whatever ``packed`` says of itself.

    Raises:
        MessageRefused: it is damaged, or of another length.
    """
    import zstandard

    target, filled = bytes_of(memory), 0
    unpacker = zstandard.ZstdDecompressor(max_window_size=max(1024, 1 << (len(target) - 1).bit_length()))
    try:
        with unpacker.stream_reader(bytes_of(packed)) as reader:
            while filled < len(target) and (count := reader.readinto(target[filled:])):
                filled += count
            more = bool(reader.read(1))
    except zstandard.ZstdError as error:
        raise MessageRefused(f"packed bytes cannot be unpacked: {error}") from error
    if filled < len(target) or more:
        raise MessageRefused(f"packed bytes: expected {len(target)} of them unpacked, got {'more' if more else filled}")
