"""A scripted conversation: messages of every kind, with fixed numbers, as the two sides make them; and their bytes."""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
import torch

from marl.exchanges.sides import Answer
from marl.wire.hello import Hello, Refusal, Welcome, to_info
from marl.wire.message import Kind, Message
from marl.wire.payload import Outgoing
from tests.exchanges.nodes import OBSERVATION, SIZE, Child, Clock, Waiting, arrives, make_parent, merged_count

CODECS = ("float32", "bfloat16", "float16", "int8", "int4")
HELLO = Hello(
    run_id="golden", term=3, instance="9c4e", fingerprint="ab" * 32, num_bytes=4 * SIZE, codecs=CODECS, seed=7,
    rank=1, children=2, environment={"id": "CartPole-v1", "kwargs": {"nested": {"gravity": 9.8}}},
    network={"hidden": (64, 64), "activation": "tanh"}, exploration={"sampler": ""},
    algorithm={"name": "a3c", "discount": 0.99}, optimizer={"name": "adam"}, replay={"ratio": 0.0},
    exchange={"every": "5 seconds", "barrier": False},
)  # fmt: skip
WELCOME = Welcome(
    fingerprint="ab" * 32, num_bytes=4 * SIZE, codecs=CODECS, instance="5f", workers=3, cores=4,
    host={"python": "3.11.7"},
)  # fmt: skip
REFUSAL = Refusal(reason="the parent offers Foo-v1, which is not installed here", permanent=True)


def said() -> dict[str, list[dict[str, Any]]]:
    """All messages of each conversation: what its header says, and the hash of header, payload and seal."""
    return {
        "probe": [
            frame(Message(Kind.PROBE, "parent", arrays={"payload": torch.zeros(16, dtype=torch.uint8)})),
            frame(Message(Kind.PROBE, "child", info={"work_seconds": 0.5, "workers": 2, "cores": 4, "machine": "ab"})),
        ],
        "handshake": [frame(Message(each.kind, "parent", info=to_info(each))) for each in (HELLO, WELCOME, REFUSAL)],
        **{codec: [frame(message, digest) for message, digest in rounds(codec)] for codec in CODECS},
        "end": [frame(Message(Kind.STOP, "child", info={"reason": "no room"}))],
    }


def frame(message: Message, digest: bytes | None = None) -> dict[str, Any]:
    """A message as it travels."""
    out = Outgoing(message, digest)
    data = out.header + b"".join(out.chunks()) + out.seal()
    return {
        "header": msgspec.msgpack.decode(out.header),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def rounds(codec: str) -> Iterator[Answer]:
    """Two children and their parent: full weights, two rounds with statistics, a flush, an answer that is lost."""
    clock = Clock()
    parent = make_parent(torch.linspace(-1, 1, SIZE), clock, normalizes=True, codec=codec)
    children = [Child(name, clock, normalizes=True, codec=codec) for name in ("first", "second")]
    for child in children:
        answer = parent.join(child.name)
        yield answer
        child.take(answer)
    first, second = children
    for number in (1, 2):
        clock.now += 5
        for rank, child in enumerate(children):
            child.learn(torch.linspace(0, number, SIZE).roll(rank), 100 + rank)
            child.see([[number, rank], [number + 2, rank + 4]] * OBSERVATION)
        reports, upload = _due(first)
        yield from reports
        yield Answer(upload)
        waiting = Waiting(parent, upload)
        merged_count(parent, 1)
        clock.now += 3  # late, but not so late that the round would close
        flush = parent.late(second.name)
        if flush is not None:
            yield flush
            second.take(flush)
        reports, upload = _due(second)
        yield from reports
        yield Answer(upload)
        answers = [arrives(parent, upload), waiting.answer()]
        for child, each in zip((second, first), answers, strict=True):
            assert each is not None
            yield each
            child.take(each)
    first.side.rejected("a bit of it changed on the way")
    (full,) = [each for each in first.side.outgoing() if each.kind is Kind.FULL]
    yield Answer(full)
    everything = parent.answer(first.name, full)
    assert everything is not None
    yield everything


def _due(child: Child) -> tuple[list[Answer], Message]:
    """What a child reports, and its upload, which is valid until the next one is written to the same memory."""
    child.side.flush_stragglers()
    *reports, upload = child.side.outgoing()
    assert upload.kind is Kind.UPLOAD
    return [Answer(each) for each in reports], upload
