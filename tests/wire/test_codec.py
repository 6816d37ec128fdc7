"""Codecs: bounded error, exact feedback, the same bits at both ends, and refusal of what is not finite."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from marl.errors import WeightsRefused
from marl.wire import quantised_blocks
from marl.wire.codec import TILE
from marl.wire.compression import CODECS, build_codec

BLOCKS = {"int8": (1024, 127), "int4": (128, 7)}  # length of a block, levels on each side of zero
SIZES = (0, 1, 2, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, TILE - 1, TILE + 77)
# Largest error relative to the number itself: half of the last bit that is kept.
RELATIVE = {"float32": 0.0, "bfloat16": 2.0**-8, "float16": 2.0**-11}


def numbers(size: int, seed: int, scale: float = 0.01) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * scale


def encode(name: str, delta: Tensor, error: Tensor | None = None, pending: Tensor | None = None) -> Tensor:
    codec = build_codec(name)
    payload = torch.full((codec.num_bytes(delta.numel()),), 0xA5, dtype=torch.uint8)
    codec.encode(delta, error, payload, pending)
    return payload


def decode(name: str, payload: Tensor, size: int, base: Tensor | None = None) -> Tensor:
    out = torch.full((size,), math.nan)
    build_codec(name).decode(payload, out, base)
    return out


def half_steps(name: str, delta: Tensor) -> Tensor:
    """Half a step of each number's block, in float64, written slowly."""
    block, levels = BLOCKS[name]
    limits = []
    for part in delta.double().split(block):
        step = max(float(part.abs().max()) / levels, quantised_blocks.SMALLEST_SCALE)
        limits += [step / 2] * len(part)
    return torch.tensor(limits, dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CODECS)
def test_nothing_is_lost_between_payload_and_residue(name: str, size: int) -> None:
    delta, error, pending = numbers(size, 1), numbers(size, 2, 1e-4), torch.full((size,), math.nan)
    payload = encode(name, delta, error, pending)
    decoded = decode(name, payload, size)
    assert torch.equal(pending, (delta + error) - decoded)


@given(
    name=st.sampled_from(sorted(BLOCKS)),
    size=st.integers(1, 3000),
    seed=st.integers(0, 1000),
    exponent=st.sampled_from([-45, -40, -38, -30, -2, 0, 10, 36]),
    spread=st.sampled_from([0, 3, 30]),
)
@settings(max_examples=120, deadline=None, derandomize=True, database=None)
def test_integers_are_within_half_a_step(name: str, size: int, seed: int, exponent: int, spread: int) -> None:
    wide = numbers(size, seed, 1.0).double() * 10.0 ** (exponent + spread * torch.rand(size).double() - spread)
    delta = wide.clamp(-1e38, 1e38).float()
    decoded = decode(name, encode(name, delta), size)
    # The last bits of float32: a scale, its inverse and two products are each rounded once.
    allowed = half_steps(name, delta) * (1 + 2.0**-13)
    assert bool(((delta.double() - decoded.double()).abs() <= allowed).all())


@pytest.mark.parametrize("name", sorted(RELATIVE))
def test_short_floats_are_within_half_of_their_last_bit(name: str) -> None:
    delta = numbers(5000, 3, 10.0)
    decoded = decode(name, encode(name, delta), 5000)
    allowed = delta.double().abs() * RELATIVE[name] + (2.0**-25 if name == "float16" else 0)
    assert bool(((delta.double() - decoded.double()).abs() <= allowed).all())


@pytest.mark.parametrize("name", CODECS)
def test_zeros_stay_zeros(name: str) -> None:
    assert torch.equal(decode(name, encode(name, torch.zeros(2000)), 2000), torch.zeros(2000))


def test_int8_by_hand() -> None:
    delta = torch.tensor([127.0, -127.0, 0.4, 0.6, -63.5, 2.5])  # the scale is 1; halves go to even
    payload = encode("int8", delta)
    assert payload[:4].view(torch.float32).tolist() == [1.0]
    assert payload[4:].view(torch.int8).tolist() == [127, -127, 0, 1, -64, 2]


def test_int4_by_hand() -> None:
    delta = torch.zeros(70)
    delta[0], delta[1], delta[64], delta[69] = 7.0, -3.2, -7.0, 2.0
    payload = encode("int4", delta)
    assert payload[:4].view(torch.float32).tolist() == [1.0]
    assert payload.numel() == 4 + 64  # element 64 shares the byte of element 0
    assert [int(byte) for byte in payload[4:11]] == [0x1F, 0x85, 0x88, 0x88, 0x88, 0xA8, 0x88]
    assert decode("int4", payload, 70)[[0, 1, 2, 64, 69]].tolist() == [7.0, -3.0, 0.0, -7.0, 2.0]


@pytest.mark.parametrize(("name", "limit"), [("int8", 0.27), ("int4", 0.14), ("bfloat16", 0.5), ("float16", 0.5)])
@pytest.mark.parametrize("size", [6_000, 18_181, 1_000_003])
def test_sizes(name: str, limit: float, size: int) -> None:
    assert build_codec(name).num_bytes(size) <= limit * 4 * size


@pytest.mark.parametrize("name", CODECS)
def test_both_ends_get_the_same_bits(name: str) -> None:
    """Two decoders, whole and onto a base, in place and not: multiplication, then addition, each rounded."""
    size = TILE + 333
    base = numbers(size, 5, 1.0)
    payload = encode(name, numbers(size, 6))
    delta = decode(name, payload, size)
    there = decode(name, payload, size, base)
    here = base.clone()
    build_codec(name).decode(payload.clone(), here, here)
    assert torch.equal(there, here)
    assert torch.equal(there, base + delta)
    if name in BLOCKS:
        assert torch.equal(delta, multiplied(name, payload, size))


def multiplied(name: str, payload: Tensor, size: int) -> Tensor:
    """Decoding written slowly: one integer times one scale."""
    block, _ = BLOCKS[name]
    num_blocks = -(-size // block)
    scales, packed = payload[: 4 * num_blocks].view(torch.float32), payload[4 * num_blocks :]
    if name == "int8":
        integers = packed.view(torch.int8).float()
    else:
        padded = torch.nn.functional.pad(packed, (0, 64 * num_blocks - len(packed))).view(-1, 64).int()
        integers = torch.cat([padded % 16 - 8, padded // 16 - 8], 1).view(-1)[:size].float()
    return integers * scales.repeat_interleave(block)[:size]


@pytest.mark.parametrize("name", CODECS)
def test_encoding_is_deterministic_and_free_of_what_came_before(name: str) -> None:
    codec = build_codec(name)
    codec.encode(numbers(5000, 8, 100.0), None, torch.empty(codec.num_bytes(5000), dtype=torch.uint8))
    payload = torch.zeros(codec.num_bytes(1500), dtype=torch.uint8)
    codec.encode(numbers(1500, 9), None, payload)
    assert torch.equal(payload, encode(name, numbers(1500, 9)))


@pytest.mark.parametrize("name", CODECS)
def test_feedback_keeps_the_sum(name: str) -> None:
    """After many rounds the decoded deltas differ from the true ones by the last residue alone: nothing drifts."""
    size, error = 3000, torch.zeros(3000)
    true, sent = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for round_number in range(100):
        delta = numbers(size, round_number) + 0.002  # a bias smaller than a step of int4
        true += delta.double()
        scratch = delta.clone()
        payload = encode(name, scratch, error, scratch)  # the residue overwrites the delta, as the exchange does it
        error = scratch
        sent += decode(name, payload, size).double()
    # Each round adds in float32: allow its last bits, far below the 0.2 that the biases sum up to.
    assert float((true - sent - error.double()).abs().max()) < 1e-6
    assert float((true - sent).abs().max()) < 0.02


def test_float16_saturates_and_sends_the_rest_later() -> None:
    delta, error = torch.tensor([100_000.0, -200_000.0, 1.0]), torch.zeros(3)
    first = decode("float16", encode("float16", delta, error, error), 3)
    assert first.tolist() == [65504.0, -65504.0, 1.0]
    second = decode("float16", encode("float16", torch.zeros(3), error, error), 3)
    assert (first + second)[0] == pytest.approx(100_000, rel=1e-3)
    third = decode("float16", encode("float16", torch.zeros(3), error, error), 3)
    fourth = decode("float16", encode("float16", torch.zeros(3), error, error), 3)
    assert (first + second + third + fourth).tolist() == pytest.approx([100_000, -200_000, 1.0], rel=1e-3)


def test_bfloat16_never_rounds_to_infinity() -> None:
    assert bool(decode("bfloat16", encode("bfloat16", torch.tensor([3.4e38, -3.4e38])), 2).isfinite().all())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", [0, 1500, TILE + 5])
@pytest.mark.parametrize("name", CODECS)
def test_what_is_not_finite_is_not_encoded(name: str, where: int, bad: float) -> None:
    delta = numbers(TILE + 10, 1)
    delta[where] = bad
    with pytest.raises(WeightsRefused, match=name):
        encode(name, delta)
    with pytest.raises(WeightsRefused, match=name):
        encode(name, torch.zeros(TILE + 10), delta)


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_huge_numbers_are_encoded_or_refused(name: str) -> None:
    delta = torch.tensor([1e38, -1e38, 1.0])
    assert decode(name, encode(name, delta), 3).tolist() == pytest.approx([1e38, -1e38, 0.0])
    with pytest.raises(WeightsRefused, match="too large"):
        encode(name, torch.tensor([3.4e38]))
    with pytest.raises(WeightsRefused, match="too large"):
        encode(name, torch.tensor([2e38]), torch.tensor([2e38]))  # their sum is infinite


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, 0.0, 1e-40, 3e38])
@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_a_bad_scale_is_refused_before_anything_is_written(name: str, bad: float) -> None:
    payload = encode(name, numbers(5000, 1))
    payload[4:8].view(torch.float32)[0] = bad
    out = torch.ones(5000)
    with pytest.raises(WeightsRefused, match="scales"):
        build_codec(name).decode(payload, out, out)
    assert torch.equal(out, torch.ones(5000))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", sorted(RELATIVE))
def test_what_is_not_finite_is_not_decoded(name: str, bad: float) -> None:
    payload = encode(name, numbers(TILE + 10, 1))
    payload.view(getattr(torch, name))[TILE + 5] = bad
    out = torch.ones(TILE + 10)
    with pytest.raises(WeightsRefused, match="finite"):
        build_codec(name).decode(payload, out)
    assert torch.equal(out, torch.ones(TILE + 10))


@given(name=st.sampled_from(sorted(BLOCKS)), size=st.integers(1, 1500), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_any_bytes_decode_to_finite_numbers_or_are_refused(name: str, size: int, seed: int) -> None:
    codec = build_codec(name)
    payload = torch.randint(256, (codec.num_bytes(size),), generator=torch.Generator().manual_seed(seed)).byte()
    out = torch.empty(size)
    try:
        codec.decode(payload, out)
    except WeightsRefused:
        return
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("name", CODECS)
def test_another_length_is_refused(name: str) -> None:
    payload = encode(name, torch.zeros(3000))
    for size in (2999, 3001, 0):
        with pytest.raises(WeightsRefused, match=f"bytes for {size} weights"):
            decode(name, payload, size)


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(ValueError, match="zip"):
        build_codec("zip")
