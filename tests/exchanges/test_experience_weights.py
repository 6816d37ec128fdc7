"""The experience exchange, downwards: newer weights, small ones at once, large ones when nothing else is sent."""

import numpy as np
import pytest
import torch

from marl.data.normalizer import as_row, statistics_of
from marl.exchanges.experience import credit
from marl.exchanges.experience import parent as experience_parent
from marl.wire.message import Kind, Message
from tests.exchanges.actors import WEIGHTS, Actors, Learning, exchange, pair, steps_of
from tests.exchanges.nodes import OBSERVATION, Clock, carried


def test_weights_go_down_only_when_they_are_newer(clock: Clock) -> None:
    learning, child = pair(clock, queue=2)
    child.play(count=2)
    (upload,) = child.uploads()
    assert learning.receive(upload) is None  # no room, no new weights: nothing to say
    learning.rest()
    learning.learn()
    learning.publish(0)  # as if nothing had been learned
    learning.rest()
    answer = learning.side.late("a")
    assert answer is not None
    assert not answer.message.arrays
    assert answer.message.info["credit"] == 3
    child.take(answer)
    learning.publish(5)
    child.play()
    exchange(learning, child)
    assert child.side.version == 5
    assert torch.equal(child.block["weights"], torch.full((WEIGHTS,), 5.0))
    answer = learning.side.answer("a", Message(Kind.FULL, "a"))
    assert answer is not None
    assert set(answer.message.arrays) == {"weights"}


def test_small_weights_are_fresh_after_each_upload(clock: Clock) -> None:
    """However much credit is left: they are no larger than what came up."""
    learning, child = pair(clock, queue=16)
    for version in range(1, 5):
        learning.publish(version)
        child.play()
        exchange(learning, child)
        assert child.side.version == version


def test_large_weights_wait_until_the_child_has_used_its_credit(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be in the middle of the next upload, and receives nothing until that has been taken."""
    monkeypatch.setattr(credit, "LARGE_BYTES", 0)
    learning, child = pair(clock, queue=4)
    learning.publish(5)
    for left in (3, 2, 1):
        child.play()
        exchange(learning, child)
        assert (child.credit, child.side.version) == (left, 0)
        learning.learn()
    child.play()
    exchange(learning, child)
    assert child.credit > 0
    assert child.side.version == int(learning.block["version"][0])


def test_who_asks_for_weights_gets_them_however_large(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credit, "LARGE_BYTES", 0)
    learning, child = pair(clock)
    child.side.rejected("it was damaged")
    (asks,) = child.asks()
    learning.publish(5)
    child.take(learning.side.answer("a", asks))
    assert child.side.version == 5


def test_an_answer_that_was_spoiled_costs_no_credit(clock: Clock) -> None:
    learning = Learning(clock, queue=4)
    child = Actors("a", clock)
    assert learning.side.join("a").message.info["credit"] == 4
    child.side.rejected("the hash differs")
    assert child.credit == 0
    (ask,) = child.asks()
    child.take(learning.side.answer("a", carried(ask, lambda header: learning.side.receive_buffers("a", header))))
    assert child.side.started.is_set()
    assert child.credit == 4
    assert child.asks() == []


def test_staleness_never_exceeds_its_limit(clock: Clock) -> None:
    learning, child = pair(clock, max_staleness=2)
    for version in (0, 7, 8, 9, 10):
        learning.publish(10)
        child.play(version=version)
        exchange(learning, child)
    assert [learning.learn()[0] for _ in range(3)] == [2, 3, 4]  # and version 10 became 13 meanwhile
    known = learning.flow()
    assert known.stale == 2
    assert known.age_of(1) <= 2


def test_the_normaliser_counts_every_observation_once(clock: Clock) -> None:
    learning = Learning(clock, children=2, normalizes=True)
    children = [Actors(name, clock, rank=rank, normalizes=True) for rank, name in enumerate("ab")]
    learning.join(*children)
    random, seen = np.random.default_rng(0), list[list[float]]()
    for _ in range(30):
        for each in children:
            new = random.normal(3.0, 2.0, (4, 2)).tolist()
            seen += new
            each.see(new, worker=int(random.integers(2)))
            each.play()
        exchange(learning, *children)
        while learning.waiting():
            learning.learn()
        learning.rest()
    statistics = learning.side.current.statistics
    assert statistics is not None
    assert statistics[0] == len(seen) == 240
    np.testing.assert_allclose(statistics.numpy(), as_row(statistics_of(np.array(seen))), rtol=1e-9)
    learning.side.leave("a")  # a broken conversation neither loses nor repeats what was told
    children[0].side.joined()
    learning.join(children[0])
    children[0].play()
    exchange(learning, children[0])
    statistics = learning.side.current.statistics
    assert statistics is not None
    assert statistics[0] == 240
    assert torch.equal(children[0].block["observations"][0], statistics)


def test_a_snapshot_has_no_steps_that_its_statistics_lack(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it is taken: here while an upload is queued, trajectory by trajectory."""
    learning, child = pair(clock, normalizes=True)
    child.play(count=3)
    child.see([[float(number)] * OBSERVATION for number in range(3 * steps_of(0))])
    (upload,) = child.uploads()
    seen = []

    def snapshot(point: str) -> None:
        if point == "parent.queueing":
            current = learning.side.current
            assert current.statistics is not None
            seen.append((current.steps, float(current.statistics[0])))

    monkeypatch.setattr(experience_parent, "fail", snapshot)
    learning.receive(upload)
    assert len(seen) == 3
    assert all(steps <= observations for steps, observations in seen)
    assert seen[-1][0] > 0
