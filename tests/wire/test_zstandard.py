"""Packed bytes: what goes in comes out, into memory of the agreed length and not a byte further."""

import contextlib
import sys

import pytest
import torch
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from marl.errors import MessageRefused, MissingExtra
from marl.wire.zstandard import demand_zstd, pack, unpack


def tensor(content: bytes | bytearray) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


@given(st.binary(min_size=1, max_size=40), st.integers(1, 5000))
def test_what_goes_in_comes_out(piece: bytes, times: int) -> None:
    memory = tensor(piece * times)
    packed = pack(memory)
    if packed is None:  # there was nothing to save
        assert len(piece) * times < 200
        return
    assert len(packed) < len(memory)
    came = torch.full_like(memory, 77)
    unpack(packed, came)
    assert torch.equal(came, memory)


def test_what_cannot_be_made_smaller_is_not_packed() -> None:
    noise = torch.randint(0, 256, (5000,), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert pack(noise) is None


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("length", [0, 1, 999, 1001, 50_000_000])
def test_another_length_is_refused_before_it_takes_memory(length: int, sized: bool) -> None:
    """Whether the frame tells its true length or none; 50 MB would come out of some two kilobytes."""
    packed = tensor(zstandard.ZstdCompressor(write_content_size=sized).compress(bytes(length)))
    whole = torch.full((1002,), 77, dtype=torch.uint8)
    with pytest.raises(MessageRefused, match=r"expected 1000 of them unpacked|cannot be unpacked"):
        unpack(packed, whole[:1000])
    assert whole[1000:].tolist() == [77, 77]  # nothing beyond the target


def test_a_frame_that_asks_for_a_large_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    begun = packer.compress(bytes(500)) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)  # the end is not in sight
    packed = tensor(begun + packer.compress(bytes(500)) + packer.flush())
    with pytest.raises(MessageRefused, match="cannot be unpacked"):
        unpack(packed, torch.empty(1000, dtype=torch.uint8))


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(noise: bytes) -> None:
    packed = pack(torch.arange(4000).remainder(7).to(torch.uint8))
    assert packed is not None
    for bad in (noise, bytes(packed.tolist())[:-1] + noise[:1], bytes(packed.tolist())[: len(noise)]):
        with contextlib.suppress(MessageRefused):
            unpack(tensor(bad) if bad else torch.empty(0, dtype=torch.uint8), torch.empty(4000, dtype=torch.uint8))


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"zstd = true needs zstandard: run pip install 'marl-cluster\[zstd\]'"):
        demand_zstd()
