"""Payloads: no copies out, exact receive buffers, and no changed bit gets through."""

import random
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor
from xxhash import xxh3_128_digest

from marl.errors import MessageRefused
from marl.wire.arrays import bytes_of
from marl.wire.header import Header
from marl.wire.message import Array, Kind, Message
from marl.wire.payload import CHUNK_BYTES, Incoming, Outgoing
from marl.wire.receive_buffers import buffers_of, new_buffers, no_buffers


def upload(**arrays: Array) -> Message:
    return Message(Kind.UPLOAD, "child:5050", 1, 2, 3, arrays, {"work": 640})


def carry(message: Message, *, cut: int = 10_000) -> Message:
    """Across and back, in chunks that do not match those of the sender."""
    outgoing = Outgoing(message)
    payload = b"".join(outgoing.chunks())
    incoming = Incoming(outgoing.header, new_buffers)
    for start in range(0, len(payload), cut):
        incoming.put(payload[start : start + cut])
    return incoming.finish(outgoing.seal())


def test_every_kind_of_array_arrives() -> None:
    arrays: dict[str, Array] = {
        **{
            str(dtype): torch.arange(7).to(dtype) for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.uint8)
        },
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 4),
        "numpy": np.arange(6.0).reshape(2, 3).data,
        "bytes": b"abc",
        "nothing": b"",
    }
    arrived = carry(upload(**arrays), cut=5)
    assert arrived[:5] == upload()[:5]
    assert arrived.info == {"work": 640}
    assert list(arrived.arrays) == list(arrays)
    for name, sent in arrays.items():
        got = arrived.arrays[name]
        assert isinstance(got, Tensor)
        assert bytes(bytes_of(got)) == bytes(bytes_of(sent))
        if isinstance(sent, Tensor):
            assert (got.dtype, got.shape) == (sent.dtype, sent.shape)
    assert arrived.arrays["numpy"].shape == (2, 3)  # type: ignore[union-attr]


def test_chunks_are_views_and_short() -> None:
    weights = torch.zeros(200_000)
    chunks = list(Outgoing(upload(weights=weights, more=torch.ones(3))).chunks())
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES] * 3 + [800_000 - 3 * CHUNK_BYTES, 12]
    weights[0] = 1.0
    assert bytes(chunks[0][:4]) == bytes(bytes_of(torch.ones(1)))


def test_the_payload_is_hashed_once_for_many_headers() -> None:
    first = Outgoing(upload(weights=torch.arange(9.0)))
    payload = b"".join(first.chunks())
    assert first.payload_digest == xxh3_128_digest(payload)
    second = Outgoing(upload(weights=torch.arange(9.0))._replace(counter=4), first.payload_digest)
    assert second.seal() == xxh3_128_digest(second.header + xxh3_128_digest(payload))
    assert second.seal() != first.seal()
    assert Outgoing(upload(weights=torch.arange(9.0))).seal() == first.seal()  # sealed before a chunk was asked for


def test_random_flips_are_caught() -> None:
    """D4 below TLS: any flipped bit, cut, or exchange of chunks, in header, payload or seal."""
    randomness = random.Random(4)
    outgoing = Outgoing(upload(weights=torch.randn(50, generator=torch.Generator().manual_seed(1))))
    good = (outgoing.header, b"".join(outgoing.chunks()), outgoing.seal())
    for _ in range(5000):
        header, payload, seal = (bytearray(part) for part in good)
        part = randomness.choice((header, payload, payload, seal))
        for _ in range(randomness.randint(1, 3)):
            part[randomness.randrange(len(part))] ^= 1 << randomness.randrange(8)
        if (bytes(header), bytes(payload), bytes(seal)) == good:
            continue
        with pytest.raises(MessageRefused):
            receive(header, payload, seal)
    assert receive(*good).counter == 3
    with pytest.raises(MessageRefused, match="differs"):
        receive(good[0], good[1][100:] + good[1][:100], good[2])
    with pytest.raises(MessageRefused, match="8 bytes of the payload are missing"):
        receive(good[0], good[1][:-8], good[2])
    with pytest.raises(MessageRefused, match="longer"):
        receive(good[0], good[1] + b"x", good[2])
    with pytest.raises(MessageRefused, match="differs"):
        receive(good[0], good[1], b"")


def test_a_seal_needs_the_key_of_the_link() -> None:
    """Where others may change what passes, a digest that anybody can compute would prove nothing."""
    message, key = upload(weights=torch.arange(9.0)), bytes(range(32))
    out = {name: Outgoing(message, key=each) for name, each in (("open", None), ("ours", key), ("other", bytes(32)))}
    payload = b"".join(out["ours"].chunks())
    for sender, outgoing in out.items():
        incoming = Incoming(outgoing.header, new_buffers, key=key)
        incoming.put(payload)
        if sender == "ours":
            assert incoming.finish(outgoing.seal()).counter == 3
        else:
            with pytest.raises(MessageRefused, match="differs"):
                incoming.finish(outgoing.seal())


def receive(header: bytes | bytearray, payload: bytes | bytearray, seal: bytes | bytearray) -> Message:
    incoming = Incoming(bytes(header), new_buffers, max_bytes=200)
    incoming.put(payload)
    return incoming.finish(seal)


def test_buffers_of_puts_the_bytes_where_they_belong() -> None:
    weights, count = torch.zeros(100_000), torch.zeros(2, 3, dtype=torch.float64)
    sent = upload(weights=torch.randn(100_000), count=torch.ones(2, 3, dtype=torch.float64))
    outgoing = Outgoing(sent)
    incoming = Incoming(outgoing.header, buffers_of({"weights": weights, "count": count}))
    for chunk in outgoing.chunks():
        incoming.put(chunk)
    arrived = incoming.finish(outgoing.seal())
    assert torch.equal(weights, sent.arrays["weights"])  # type: ignore[arg-type]
    assert torch.equal(count, torch.ones(2, 3, dtype=torch.float64))
    assert arrived.arrays["weights"].data_ptr() == weights.data_ptr()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"weights": torch.zeros(5)},
        {"weights": torch.zeros(4, dtype=torch.int32)},
        {"weights": torch.zeros(2, 2)},
        {"other": torch.zeros(4)},
        {"weights": torch.zeros(4), "other": torch.zeros(1)},
    ],
)
def test_into_refuses_anything_else(arrays: dict[str, Array]) -> None:
    with pytest.raises(MessageRefused, match=r"expected .*, got"):
        Incoming(Outgoing(upload(**arrays)).header, buffers_of({"weights": torch.zeros(4)}))


def test_no_buffers_takes_no_arrays() -> None:
    assert Incoming(Outgoing(upload()).header, no_buffers).missing == 0
    with pytest.raises(MessageRefused, match="got weights"):
        Incoming(Outgoing(upload(weights=torch.zeros(4))).header, no_buffers)


def test_a_long_payload_is_refused_before_there_is_memory_for_it() -> None:
    def never(header: Header) -> Mapping[str, memoryview]:
        raise AssertionError("asked for memory")

    with pytest.raises(MessageRefused, match="at most 15 bytes, got 16"):
        Incoming(Outgoing(upload(weights=torch.zeros(4))).header, never, max_bytes=15)


@pytest.mark.parametrize("view", [memoryview(bytearray(15)), memoryview(bytes(16))])
def test_a_wrong_buffer_is_our_own_mistake(view: memoryview) -> None:
    with pytest.raises(ValueError, match="expected"):
        Incoming(Outgoing(upload(weights=torch.zeros(4))).header, lambda _: {"weights": view})


def test_what_cannot_be_viewed_is_not_sent() -> None:
    for array in (torch.zeros(4, 4).t()[1:], torch.zeros(3, dtype=torch.complex64), np.zeros((4, 4))[:, 1].data):
        with pytest.raises(MessageRefused):
            Outgoing(upload(weights=array))


def test_a_bool_has_two_values() -> None:
    outgoing = Outgoing(upload(mask=torch.tensor([2, 0], dtype=torch.uint8).view(torch.bool)))
    incoming = Incoming(outgoing.header, new_buffers)
    incoming.put(b"".join(outgoing.chunks()))
    with pytest.raises(MessageRefused, match="0 and 1"):
        incoming.finish(outgoing.seal())
