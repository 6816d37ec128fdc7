"""When a child uploads, who is waited for and for how long, and who stands still meanwhile."""

import pytest
import torch

from marl.data.node.memory import array
from marl.wire.message import Kind
from tests.exchanges.nodes import (
    SIZE,
    Clock,
    Waiting,
    a_round,
    arrives,
    carried,
    join,
    make_parent,
    merged_count,
    weights,
)


def test_where_the_run_is_at_its_end_children_are_flushed_at_once(clock: Clock) -> None:
    """However long a round usually is."""
    parent = make_parent(weights(0.0), clock)
    children = join(parent, clock, "a", "b")
    a_round(parent, clock, children)
    for child in children:
        child.learn(1.0, 10)
    assert [parent.late(child.name) for child in children] == [None, None]
    parent.catch_up(20)
    clock.now += 1
    parent.catch_up(20)
    for child in children:
        flush = parent.late(child.name)
        assert flush is not None
        assert flush.message.kind is Kind.FLUSH
        assert parent.late(child.name) is None  # once is enough
    waiting = Waiting(parent, children[0].upload())
    arrives(parent, children[1].upload())
    waiting.answer()
    assert parent.current.steps == 20


def test_a_straggler_is_flushed_and_then_left_behind(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    fast, slow = join(parent, clock, "fast", "slow")
    for child in (fast, slow):
        child.learn(1.0, 10)
    a_round(parent, clock, [fast, slow])  # 5 seconds is what is usual
    fast.learn(1.0, 10)
    clock.now += 5
    waiting = Waiting(parent, fast.upload())
    merged_count(parent, 1)
    assert parent.late("slow") is None
    clock.now += 3  # more than 1.5 times the usual
    flush = parent.late("slow")
    assert flush is not None
    assert flush.message.kind is Kind.FLUSH
    assert parent.late("slow") is None  # once is enough
    clock.now += 2
    fast.take(waiting.answer())
    assert parent.current.version == 2


def test_a_flush_makes_an_upload_due_at_once(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a")
    child.learn(1.0, 10)
    assert child.due() == []
    parent._round.first_upload_at = clock.now
    clock.now += 60
    parent.members["a"].moved_at = clock.now
    child.take(parent.late("a"))
    assert child.due() == [Kind.UPLOAD]


@pytest.mark.parametrize("every", ["5 seconds", "100 steps", "2 episodes"])
def test_triggers(clock: Clock, every: str) -> None:
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a", every=every)
    counts = array(child.block, "ring_count")
    child.learn(1.0, 99)
    clock.now += 4.9
    counts[:, 0] = 2, 1
    assert child.due() == []
    if every == "5 seconds":
        clock.now += 0.2
    elif every == "100 steps":
        child.learn(0.0, 1)
    else:
        counts[1, 0] = 2
    assert child.due() == [Kind.UPLOAD]
    assert child.due() == []  # one at a time


def test_a_child_far_behind_starts_over(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    fast, lost = join(parent, clock, "fast", "lost")
    lost.learn(50.0, 1000)
    lost.block["optimizer"].fill_(1.0)
    parent.leave("lost")
    for _ in range(6):
        fast.learn(1.0, 10)
        a_round(parent, clock, [fast])
    lost.take(parent.join("lost"))
    assert torch.equal(lost.shared, parent.current.weights)
    assert not lost.block["optimizer"].any()
    fast.learn(0.0, 10)
    a_round(parent, clock, [lost, fast])  # nobody waits for one that joined while the round ran, but it counts
    assert parent.current.steps == 70  # the thousand are given up


def test_a_round_without_work_makes_no_version(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a")
    clock.now += 5
    child.take(arrives(parent, child.upload()))
    assert parent.current.version == 0
    child.learn(1.0, 10)
    a_round(parent, clock, [child])
    assert parent.current.version == 1


def test_workers_stand_still_until_the_answer_where_a_barrier_is_asked_for(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a", barrier=True)
    pause, waiting = array(child.block, "pause"), array(child.block, "waiting")
    waiting[:, 0] = 1  # the workers have come to rest
    child.learn(1.0, 10)
    clock.now += 5
    upload = child.upload()
    assert pause.tolist() == [1, 0]
    child.take(arrives(parent, upload))
    assert pause.tolist() == [1, 1]
    assert torch.equal(child.shared, weights(1.0))


@pytest.mark.parametrize(("seconds", "codec"), [(0.1, "float32"), (0.9, "bfloat16"), (1.7, "int8"), (60.0, "int4")])
def test_the_codec_follows_the_slowest_child(clock: Clock, seconds: float, codec: str) -> None:
    parent = make_parent(weights(0.0), clock, codec="auto", every="5 seconds")
    fast, slow = join(parent, clock, "fast", "slow", codec="auto")
    for child in (fast, slow):
        child.learn(1.0, 10)
    clock.now += 5
    waiting = Waiting(parent, fast.upload())
    merged_count(parent, 1)
    upload = slow.upload()

    def buffers(header):  # type: ignore[no-untyped-def]
        views = parent.receive_buffers("slow", header)
        clock.now += seconds
        return views

    answer = parent.answer("slow", carried(upload, buffers))
    slow.take(answer)
    fast.take(waiting.answer())
    assert parent.codec == codec
    for _ in range(3):
        for child in (fast, slow):
            child.learn(torch.randn(SIZE, generator=torch.Generator().manual_seed(0)), 10)
        a_round(parent, clock, [fast, slow])
        assert torch.equal(fast.side._g, parent.current.weights)
        assert torch.equal(slow.side._g, parent.current.weights)
    assert not fast.notes + slow.notes


def test_nothing_is_uploaded_before_the_first_answer_of_a_conversation(clock: Clock) -> None:
    """That answer would be taken for the upload's own: not merged, so that its work would count twice."""
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a")
    parent.leave("a")
    child.side.left()
    child.learn(1.0, 10)
    clock.now += 5
    child.side.joined()
    assert child.due() == []
    child.take(parent.join("a"))
    assert child.due() == [Kind.UPLOAD]
