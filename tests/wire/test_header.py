"""Every header ends in an accepted message or a documented error, and costs no memory before it is accepted."""

import math
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl.errors import MessageRefused
from marl.wire.header import IN_JSON, MAX_ARRAYS, MAX_HEADER_BYTES, ArrayEntry, Header, decode_header, encode_header
from marl.wire.message import Kind, Message
from marl.wire.protocol import PROTOCOL

AGREED = 1 << 20
ENTRY = {"name": "weights", "dtype": "float32", "shape": [3, 2], "nbytes": 24}
GOOD: dict[str, Any] = {
    "protocol": PROTOCOL,
    "kind": "upload",
    "sender": "3f2a:5050",
    "epoch": 1,
    "version": 7,
    "counter": 2,
    "info": {"work": 640, "codec": "int8", "seconds": 1.5, "full": False, "none": None, "list": [1, "a"]},
    "manifest": [ENTRY],
}
integers = st.one_of(
    st.integers(-4, 40), st.sampled_from([2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1 << 40])
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), integers, st.floats(), st.text(max_size=8), st.binary(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {
        "name": st.one_of(st.sampled_from(["weights", "count", "../etc", "", "a\n", "x" * 200]), anything),
        "dtype": st.one_of(st.sampled_from(["float32", "int64", "bool", "bfloat16", "object", "float33"]), anything),
        "shape": st.one_of(st.lists(integers, max_size=10), anything),
        "nbytes": st.one_of(integers, anything),
    }
)
headers = st.fixed_dictionaries(
    {key: st.one_of(st.just(value), st.just(value), st.just(value), anything) for key, value in GOOD.items()}
    | {"manifest": st.one_of(st.lists(entries, max_size=4), st.just([ENTRY]), anything)},
    optional={"surplus": anything},
)


def refusal(data: bytes, max_bytes: int = AGREED) -> str:
    with pytest.raises(MessageRefused) as caught:
        decode_header(data, max_bytes=max_bytes)
    return str(caught.value)


def check(data: bytes) -> None:
    """The one promise: an accepted header is consistent, everything else is MessageRefused."""
    try:
        header = decode_header(data, max_bytes=AGREED)
    except MessageRefused as error:
        reason = str(error)
        assert len(reason) < 2000, "as long as what came"
        return
    assert header.num_bytes <= AGREED
    for entry in header.manifest:
        assert entry.nbytes >= math.prod(entry.shape) >= 0


def test_a_message_survives_its_header() -> None:
    message = Message(Kind.ANSWER, "3f2a:5050", 2**63 - 1, 5, 6, {}, {"text": "é", "none": None, "list": [1, 2.5]})
    header = decode_header(encode_header(message, (ArrayEntry("w", "float32", (2, 3), 24),)), max_bytes=24)
    assert header == Header(PROTOCOL, *message[:5], dict(message.info), (ArrayEntry("w", "float32", (2, 3), 24),))


@given(headers)
@settings(max_examples=400, deadline=None, derandomize=True, database=None)
def test_any_header_of_the_grammar(fields: dict[str, Any]) -> None:
    check(msgspec.msgpack.encode(fields))


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_any_bytes(data: bytes) -> None:
    check(data)


@given(st.data())
@settings(max_examples=400, deadline=None, derandomize=True, database=None)
def test_any_damage_to_a_good_header(data: st.DataObject) -> None:
    good = bytearray(msgspec.msgpack.encode(GOOD))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    start, stop = sorted((data.draw(st.integers(0, len(good))), data.draw(st.integers(0, len(good)))))
    check(bytes(good if data.draw(st.booleans()) else good[start:stop]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shape": [2**62, 2**62], "nbytes": 0}, "not 0"),
        ({"shape": [2**63 - 1], "nbytes": 2**63 - 1}, "has"),
        ({"shape": [2**63], "nbytes": 4}, "malformed"),
        ({"shape": [-1, -6]}, "malformed"),
        ({"shape": [0, 2**62], "nbytes": 8}, "not 8"),
        ({"shape": [1] * 9, "nbytes": 4}, "malformed"),
        ({"nbytes": 23}, "not 23"),
        ({"nbytes": -24}, "malformed"),
        ({"dtype": "float16"}, "not 24"),
        ({"dtype": "object"}, "malformed"),
        ({"name": "../weights\n"}, "malformed"),
        ({"shape": [1 << 20], "nbytes": 4 << 20}, f"at most {AGREED} bytes, got {4 << 20}"),
        ({"offset": 8}, "offset"),
    ],
)
def test_a_bad_manifest_is_refused(change: dict[str, Any], reason: str) -> None:
    assert reason in refusal(msgspec.msgpack.encode({**GOOD, "manifest": [{**ENTRY, **change}]}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "eval"}, "eval"),
        ({"sender": ""}, "sender"),
        ({"version": -1}, "version"),
        ({"epoch": 2**63}, "epoch"),
        ({"version": True}, "version"),
        ({"info": {"work": math.nan}}, "work"),
        ({"info": {"work": [1.0, -math.inf]}}, "finite"),
        ({"info": {"work": 2**63}}, "info"),
        ({"info": {"work": {"nested": 1}}}, "malformed"),
        ({"info": {"work": b"bytes"}}, "malformed"),
        ({"info": {str(key): 0 for key in range(300)}}, "malformed"),
        ({"info": {"text": "x" * 50_000}}, "malformed"),
        ({"info": {"list": [0] * 2000}}, "malformed"),
        ({"manifest": [ENTRY, ENTRY]}, "different names"),
        ({"manifest": [{**ENTRY, "name": str(key)} for key in range(MAX_ARRAYS + 1)]}, "malformed"),
        ({"surplus": 1}, "surplus"),
        ({"protocol": PROTOCOL + 3}, f"the other {PROTOCOL + 3}"),
        ({"protocol": 1}, "the other 1: install the same version"),  # whose messages end with another digest
        ({"protocol": PROTOCOL + 3, "novelty": [1, 2]}, "install the same version"),
    ],
)
def test_a_bad_header_is_refused(change: dict[str, Any], reason: str) -> None:
    assert reason in refusal(msgspec.msgpack.encode({**GOOD, **change}))


@pytest.mark.parametrize(
    "tail",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of 2^32 - 1
        b"\xdf\xff\xff\xff\xff",  # a map
        b"\xdb\xff\xff\xff\xff",  # a text
        b"\xc6\xff\xff\xff\xff",  # bytes
        b"\xc9\xff\xff\xff\xff\x01",  # an extension
        b"\x91" * 60_000,  # nested without end
        b"\xa2\xff\xfe",  # no UTF-8
        b"\xc1",  # no MessagePack
    ],
)
@pytest.mark.parametrize("key", ["protocol", "sender", "info", "manifest", "novelty"])
def test_what_a_header_announces_is_not_allocated(key: str, tail: bytes) -> None:
    data = b"\x81" + msgspec.msgpack.encode(key) + tail
    refusal(data)  # what is made once, for the message
    tracemalloc.start()
    try:
        refusal(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_long_header_is_refused_unread() -> None:
    assert str(MAX_HEADER_BYTES) in refusal(b"\x80" + bytes(MAX_HEADER_BYTES))


def test_what_would_be_refused_is_not_sent() -> None:
    for message in (
        Message(Kind.UPLOAD, "a b"),
        Message(Kind.UPLOAD, "a", version=-1),
        Message(Kind.UPLOAD, "a", counter=2**64),
        Message(Kind.UPLOAD, "a", info={"return": math.nan}),
        Message(Kind.UPLOAD, "a", info={"object": object()}),  # type: ignore[dict-item]
    ):
        with pytest.raises(MessageRefused):
            encode_header(message, ())


@pytest.mark.parametrize("kind", [each for each in Kind if each not in IN_JSON])
def test_words_are_printable_once_they_are_decoded(kind: Kind) -> None:
    info = {"reason": "\x1b[2J\nError: \u202eno", "many": ["two\nlines", 3, None], "number": 1.5, "long": "x" * 40_000}
    header = decode_header(encode_header(Message(kind, "child", info=info), ()), max_bytes=0)
    assert header.info["reason"] == "?[2J Error: ?no"
    assert header.info["many"] == ["two lines", 3, None]
    assert header.info["number"] == 1.5
    assert len(str(header.info["long"])) == 1000


def test_what_is_wrong_with_a_header_is_printable() -> None:
    good = msgspec.msgpack.decode(encode_header(Message(Kind.STOP, "child"), ()))
    for bad in ({"\x1b[2J\n": 1}, {"kind": "\x1b[2J"}, {"info": {"\u202e\n": 1}}):
        assert refusal(msgspec.msgpack.encode(good | bad)).isprintable()
