"""The weights exchange: what is merged counts once, what is not merged is not lost, what is refused leaves no trace."""

from collections.abc import Mapping
from concurrent.futures import Future

import numpy as np
import pytest
import torch

from marl.averaging.directions import AFTER
from marl.data.normalizer import as_row, from_row, statistics_of
from marl.digests import begin_name
from marl.wire.arrays import digest_of
from marl.wire.message import Array, Kind, Message
from tests.exchanges.nodes import (
    SIZE,
    Child,
    Clock,
    Waiting,
    a_round,
    arrives,
    join,
    make_parent,
    merged_count,
    weights,
)


def test_a_child_begins_with_the_parents_weights(clock: Clock) -> None:
    child = Child("a", clock)
    assert not child.side.started.is_set()
    child.take(make_parent(weights(3.0), clock).join("a"))
    assert child.side.started.is_set()
    assert torch.equal(child.shared, weights(3.0))


def test_a_round_is_the_mean_weighted_by_work(clock: Clock) -> None:
    """Once it is known that who works more goes where the others go; until then they count alike."""
    parent = make_parent(weights(0.0), clock)
    a, b = join(parent, clock, "a", "b")
    for _ in range(AFTER):
        a.learn(1.0, 10)
        b.learn(4.0, 30)
        a_round(parent, clock, [a, b])
    assert parent.current.version == AFTER
    assert parent.current.steps == AFTER * 40
    assert torch.equal(parent.current.weights, weights(AFTER * 2.5))
    a.learn(1.0, 10)
    b.learn(4.0, 30)
    a_round(parent, clock, [a, b])
    for each in (parent.current.weights, a.shared, b.shared):
        assert torch.equal(each, weights(AFTER * 2.5 + 3.25))


def test_what_was_learned_while_an_answer_was_awaited_is_kept(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a")
    clock.now += 5
    child.learn(1.0, 10)
    upload = child.upload()
    child.learn(0.5, 7)
    child.take(arrives(parent, upload))
    assert torch.equal(child.shared, weights(1.5))
    a_round(parent, clock, [child])
    assert parent.current.steps == 17  # each step counted once
    assert torch.equal(parent.current.weights, weights(1.5))


def test_an_upload_that_comes_too_late_rides_in_the_next(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    fast, slow = join(parent, clock, "fast", "slow")
    fast.learn(1.0, 10)
    slow.learn(8.0, 10)
    clock.now += 5
    late = slow.upload()
    parent.leave("slow")  # nobody waits for it
    a_round(parent, clock, [fast])
    assert torch.equal(parent.current.weights, weights(1.0))
    parent.members["slow"].live = True
    slow.take(arrives(parent, late))
    assert parent.current.version == 1  # not merged
    assert torch.equal(slow.shared, weights(9.0))  # 8 of its own, 1 of the round
    fast.learn(1.0, 10)
    a_round(parent, clock, [fast, slow])
    assert parent.current.steps == 30
    assert torch.equal(parent.current.weights, weights(1.0 + (1.0 + 8.0) / 2))


def test_an_answer_that_was_lost_is_told_again(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a")
    child.learn(2.0, 10)
    clock.now += 5
    assert arrives(parent, child.upload()) is not None  # and the link breaks
    child.learn(1.0, 5)
    parent.leave("a")
    child.side.left()
    child.side.joined()
    child.take(parent.join("a"))
    assert torch.equal(child.shared, weights(3.0))
    a_round(parent, clock, [child])
    assert parent.current.steps == 15


def test_an_upload_that_came_twice_counts_once(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a")
    child.learn(2.0, 10)
    clock.now += 5
    upload = child.upload()
    arrives(parent, upload)
    again = arrives(parent, upload._replace(version=1))
    assert again is not None
    assert parent.current.version == 1
    assert parent.current.steps == 10


@pytest.mark.parametrize("codec", ["bfloat16", "float16", "int8", "int4"])
def test_with_rounding_both_ends_hold_the_same_bits(clock: Clock, codec: str) -> None:
    parent = make_parent(torch.randn(SIZE, generator=torch.Generator().manual_seed(0)), clock, codec=codec)
    a, b = join(parent, clock, "a", "b", codec=codec)
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros(SIZE, dtype=torch.float64)
    start = parent.current.weights.clone()
    for _ in range(30):
        for child in (a, b):
            delta = 0.01 * torch.randn(SIZE, generator=generator)
            total += delta.double() / 2
            child.learn(delta, 10)
        a_round(parent, clock, [a, b])
        assert torch.equal(a.side._g, parent.current.weights)
        assert torch.equal(b.side._g, parent.current.weights)
    # What is rounded away is added to the next message: the error does not grow with the rounds.
    drift = (parent.current.weights.double() - start.double() - total).abs().max()
    assert drift < 0.02
    assert not a.notes


def test_a_version_is_hashed_once_however_many_children(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent down is hashed for all of them together; so is the name of the weights that a delta leads to."""
    hashed: dict[str, list[int]] = {"payload": [], "name": []}

    def payload(arrays: Mapping[str, Array]) -> bytes:
        hashed["payload"].append(len(arrays))
        return digest_of(arrays)

    def name(content: memoryview) -> Future[str]:
        hashed["name"].append(len(content))
        return begin_name(content)

    monkeypatch.setattr("marl.exchanges.merging.broadcasts.digest_of", payload)
    monkeypatch.setattr("marl.exchanges.merging.merger.begin_name", name)
    parent = make_parent(weights(0.0), clock, codec="int8")
    children = join(parent, clock, "a", "b", "c", codec="int8")
    assert hashed == {"payload": [1], "name": []}
    for number in (2, 3):
        for child in children:
            child.learn(1.0, 10)
        a_round(parent, clock, children)
        assert hashed == {"payload": [1] * number, "name": [4 * SIZE] * (number - 1)}
        assert all(torch.equal(child.shared, parent.current.weights) for child in children)


def test_a_delta_that_does_not_fit_is_followed_by_full_weights(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock, codec="int8")
    (child,) = join(parent, clock, "a", codec="int8")
    child.learn(1.0, 10)
    clock.now += 5
    answer = arrives(parent, child.upload())
    child.side._g[3] += 1  # a bit has flipped
    child.take(answer)
    assert child.due() == [Kind.FULL]
    child.take(parent.answer("a", Message(Kind.FULL, "a")))
    assert torch.equal(child.side._g, parent.current.weights)
    assert torch.allclose(child.shared, parent.current.weights)


def test_the_normaliser_counts_every_observation_once(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock, normalizes=True)
    children = join(parent, clock, "a", "b", normalizes=True)
    seen: list[list[list[float]]] = [[], []]
    random = np.random.default_rng(0)
    for _ in range(50):
        for rank, child in enumerate(children):
            seen[rank] += (random.normal(3.0, 2.0, (4, 2))).tolist()
            child.see(seen[rank])
            child.learn(0.0, 4)
        a_round(parent, clock, children)
    expected = as_row(statistics_of(np.array(seen[0] + seen[1])))
    assert parent.current.statistics is not None
    assert parent.current.statistics[0] == 400
    np.testing.assert_allclose(parent.current.statistics.numpy(), expected, rtol=1e-9)
    for child in children:
        assert torch.equal(child.block["observations"][0], parent.current.statistics)
    assert from_row(parent.current.statistics.numpy()).count == 400


def test_outer_momentum_carries_on(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock, outer_lr=0.7, outer_momentum=0.9)
    (child,) = join(parent, clock, "a")
    child.learn(1.0, 10)
    a_round(parent, clock, [child])
    # d = -1, v = -1: mean + .3 d - .63 v
    assert torch.allclose(parent.current.weights, weights(1.0 - 0.3 + 0.63))


def test_what_a_child_learned_alone_counts_in_full_when_it_is_back(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    alone, steady = join(parent, clock, "alone", "steady")
    for _ in range(5):
        for child in (alone, steady):
            child.learn(0.0, 5000)
        a_round(parent, clock, [alone, steady])
    before = parent.current.steps
    parent.leave("alone")
    alone.side.left()
    for _ in range(3):
        alone.learn(1.0, 5000)
        steady.learn(0.0, 5000)
        a_round(parent, clock, [steady])
    alone.side.joined()
    alone.take(parent.join("alone"))
    alone.learn(0.0, 5000)
    steady.learn(0.0, 5000)
    a_round(parent, clock, [alone, steady])
    assert parent.current.steps - before == 4 * 5000 + 4 * 5000


def test_a_long_absence_after_a_lost_answer_leaves_no_old_steps_due(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    lost, steady = join(parent, clock, "lost", "steady")
    for child in (lost, steady):
        child.learn(1.0, 100)
    clock.now += 5
    waiting = Waiting(parent, lost.upload())
    merged_count(parent, 1)
    steady.take(arrives(parent, steady.upload()))
    waiting.answer()  # and the link breaks before it is there
    parent.leave("lost")
    for _ in range(6):
        steady.learn(1.0, 100)
        a_round(parent, clock, [steady])
    lost.take(parent.join("lost"))
    assert lost.side._unmerged.work() == 0


def test_what_is_saved_fits_together(clock: Clock) -> None:
    """An upload of the open round is not in the weights that are saved, so it is not called merged either."""
    parent = make_parent(weights(0.0), clock)
    first, second = join(parent, clock, "first", "second")
    first.learn(1.0, 10)
    second.learn(1.0, 10)
    clock.now += 5
    waiting = Waiting(parent, first.upload())
    merged_count(parent, 1)
    assert parent.saved().merged == {"first": 0, "second": 0}
    second.take(arrives(parent, second.upload()))
    first.take(waiting.answer())
    assert parent.saved().merged == {"first": 1, "second": 1}
