"""Rounds that share one part of the weights each, in turn, against a loop of float64 numbers."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from marl.averaging.reach import Reach
from marl.averaging.vetting import Sent, Vetting
from marl.errors import ConfigError
from marl.exchanges.merging.parts import Parts
from marl.exchanges.pairwise.exchange import Pairwise
from marl.exchanges.weights.exchange import Weights
from marl.wire.message import Message
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
from tests.exchanges.test_barrier import rest

P = 3
OFF: dict[str, Any] = {"clip": math.inf}  # no limits of length


def noise(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(SIZE, generator=generator)


def uploads_of(children: list[Child], *, barrier: bool) -> list[Message]:
    """One of each, when all of its workers rest."""
    if barrier:
        for child in children:
            child.side._rest.ask()
            rest(child)
    return [child.upload() for child in children]


@pytest.mark.parametrize("size", [7, 12, 300])
@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_parts_are_as_equal_as_they_can_be_and_leave_nothing_out(size: int, count: int) -> None:
    parts = Parts(size, count)
    indices = [index for version in range(count) for index in range(size)[parts.of(version)]]
    assert indices == list(range(size))
    lengths = [parts.length(version) for version in range(count)]
    assert max(lengths) - min(lengths) <= 1
    assert parts.of(2 * count + 1) == parts.of(1)


@pytest.mark.parametrize("barrier", [False, True])
@pytest.mark.parametrize(("codec", "close"), [("float32", 1e-5), ("bfloat16", 0.1), ("int8", 0.2)])
@pytest.mark.parametrize(("outer_lr", "outer_momentum"), [(1.0, 0.0), (0.7, 0.9)])
def test_each_round_moves_one_part(
    barrier: bool, codec: str, close: float, outer_lr: float, outer_momentum: float, clock: Clock
) -> None:
    settings = OFF | {"parts": P, "barrier": barrier, "codec": codec}
    settings |= {"outer_lr": outer_lr, "outer_momentum": outer_momentum}
    generator = torch.Generator().manual_seed(3)
    parent = make_parent(noise(generator), clock, **settings)
    children = join(parent, clock, "a", "b", **settings)
    world = parent.current.weights.double().numpy()
    own, velocity = [world.copy() for _ in children], np.zeros(SIZE)
    for number in range(4 * P):
        for child, literal in zip(children, own, strict=True):
            step = noise(generator)
            child.learn(step, 10)
            literal += step.numpy()
        clock.now += 5
        uploads = uploads_of(children, barrier=barrier)
        waiting = [Waiting(parent, upload) for upload in uploads[:-1]]
        merged_count(parent, 1)
        sent = [literal.copy() for literal in own]
        for child, literal in zip(children, own, strict=True):
            if not barrier:  # what is learned while weights travel
                step = noise(generator)
                child.learn(step, 0)
                literal += step.numpy()
        last = arrives(parent, uploads[-1])
        children[0].take(waiting[0].answer())
        children[1].take(last)
        part = slice(SIZE // P * (number % P), SIZE // P * (number % P + 1))
        mean = sum(each[part] for each in sent) / 2
        difference = world[part] - mean
        velocity[part] = outer_momentum * velocity[part] + difference
        world[part] = mean + (1 - outer_lr) * difference - outer_lr * outer_momentum * velocity[part]
        for literal, before in zip(own, sent, strict=True):
            literal[part] += world[part] - before[part]
        assert np.abs(parent.current.weights.double().numpy() - world).max() < close
        for child, literal in zip(children, own, strict=True):
            assert np.abs(child.shared.double().numpy() - literal).max() < close
            assert torch.equal(child.side._g, parent.current.weights)
            if barrier:
                assert torch.equal(child.shared[part], parent.current.weights[part])


@pytest.mark.parametrize("codec", ["float32", "int8"])
def test_a_round_sends_a_part_both_ways_and_everything_to_who_has_missed_one(codec: str, clock: Clock) -> None:
    settings = OFF | {"parts": P, "codec": codec}
    parent = make_parent(weights(0.0), clock, **settings)
    steady, absent = join(parent, clock, "steady", "absent", **settings)
    a_round(parent, clock, play([steady, absent]))
    clock.now += 5
    whole = Waiting(parent, play([steady])[0].upload())  # round 1, without the other
    merged_count(parent, 1)
    absent_upload = play([absent])[0].upload()
    (sent,) = [each for name, each in absent_upload.arrays.items() if name != "moments"]
    assert sent.numel() * sent.element_size() <= 4 * SIZE // P
    parent.leave("absent")  # and its upload is lost
    answer = whole.answer()
    assert answer is not None
    assert set(answer.message.arrays) == ({"part"} if codec == "float32" else {"change"})
    assert sum(each.nbytes for each in answer.message.arrays.values()) <= 4 * SIZE // P
    steady.take(answer)
    a_round(parent, clock, play([steady]))  # round 2
    before, version = absent.shared.clone(), parent.current.version
    old = absent.side._g.clone()
    answer = parent.join("absent")
    assert set(answer.message.arrays) == {"weights"}
    absent.take(answer)
    # Only what the others have changed is added: nothing that it has learned is lost.
    assert torch.allclose(absent.shared, before + parent.current.weights - old, atol=1e-6)
    late = Child("late", clock, **settings)
    late.take(parent.join("late"))
    assert torch.equal(late.shared, parent.current.weights)
    a_round(parent, clock, play([steady]))  # no round waits for who joins in it
    for child in (absent, late):
        learned = child.shared - child.side._g
        (answer,) = [arrives(parent, play([child])[0].upload())]  # of the version before: not merged
        child.take(answer)
        more = torch.linspace(0.1, 1.0, SIZE)
        assert torch.allclose(child.shared, parent.current.weights + learned + more, atol=1e-6)  # and not lost
    a_round(parent, clock, play([steady, absent, late]))
    assert parent.current.version == version + 2
    assert torch.equal(late.side._g, parent.current.weights)
    assert torch.equal(absent.side._g, parent.current.weights)


def play(children: list[Child]) -> list[Child]:
    for child in children:
        child.learn(torch.linspace(0.1, 1.0, SIZE), 10)
    return children


def test_an_upload_that_was_lost_is_made_again_with_what_the_part_has_learned(clock: Clock) -> None:
    settings = OFF | {"parts": P}
    parent = make_parent(weights(0.0), clock, **settings)
    (child,) = join(parent, clock, "a", **settings)
    a_round(parent, clock, play([child]))
    clock.now += 5
    play([child])[0].upload()  # lost
    parent.leave("a")
    child.side.joined()
    child.take(parent.join("a"))
    a_round(parent, clock, play([child]))
    part = Parts(SIZE, P).of(1)
    assert torch.allclose(parent.current.weights[part], 3 * torch.linspace(0.1, 1.0, SIZE)[part])
    assert parent.current.steps == 30


def test_a_part_is_weighed_by_all_work_since_its_last_turn(clock: Clock) -> None:
    settings = OFF | {"parts": 2}
    parent = make_parent(weights(0.0), clock, **settings)
    a, b = join(parent, clock, "a", "b", **settings)
    a.learn(1.0, 10)
    b.learn(5.0, 10)
    a_round(parent, clock, [a, b])
    first, second = Parts(SIZE, 2).of(0), Parts(SIZE, 2).of(1)
    assert torch.allclose(parent.current.weights[first], torch.tensor(3.0))
    a.learn(0.0, 10)
    b.learn(0.0, 5)
    a_round(parent, clock, [a, b])
    assert torch.allclose(parent.current.weights[second], torch.tensor((20 * 1 + 15 * 5) / 35))


def test_limits_of_length_hold_for_the_work_of_a_part() -> None:
    reach = Reach(usual=1.0, most=2.0, warm_up=0.0, per_step=0.5, per_trajectory=0.0, lag=0.0)  # 1 a step
    vetting = Vetting(torch.full((4,), 100.0), 10.0, reach, parts=2)
    sent = Sent("a", 1.0)
    found = []
    for version in range(20):
        vetting.part = version % 2
        since = vetting.since(sent, 10, 8)
        found.append(since)
        factor = vetting.shorten(sent._replace(elapsed_s=since.seconds), since.work, since.work)
        if version >= 12:  # enough was seen of this part
            assert factor(0.9 * since.work) == 1.0
            assert factor(1.9 * since.work) == pytest.approx(1 / 1.9)
        else:
            assert factor(0.5 * since.work) == 1.0
        vetting.remember(sent, 10, 8)
    assert found == [(10, 8, 1.0), *[(20, 16, 2.0)] * 19]
    resumed = Vetting(torch.zeros(4), 10.0, reach, parts=2)
    resumed.restore(vetting.saved())
    assert resumed.since(sent, 10, 8) == (20, 16, 2.0)  # part 0, whose turn it is
    resumed.part = 1
    assert resumed.since(sent, 10, 8) == (10, 8, 1.0)
    resumed.restore({"parts": [{"since": {"a": ["x", -1, 2], "b": [1], "c": [1, 2, -3]}, "lengths": 3}, None]})
    assert resumed.since(sent, 10, 8) == (10, 8, 1.0)


@pytest.mark.parametrize(("agrees", "most"), [(True, 8.0), (False, 1.0)])
def test_a_child_that_misses_turns_of_a_part_does_not_outweigh_the_others(agrees: bool, most: float) -> None:
    vetting = Vetting(torch.full((4,), 100.0), 10.0, None, parts=2)
    for version in range(40):
        vetting.part = version % 2
        vetting.remember(Sent("b", 1.0), 10, 10)
        if version % 2:
            vetting.remember(Sent("liar", 1.0), 10, 10)
    vetting.part = 0
    assert vetting.since(Sent("b", 1.0), 10, 10, agrees=agrees).counts == 20
    # Its change may be as long as all its work allows, and weighs as two uploads do.
    assert vetting.since(Sent("liar", 1.0), 10, 10, agrees=agrees)[:2] == (210, 2 * most * 10)


def test_a_part_that_moves_little_is_compared_with_itself(clock: Clock) -> None:
    """Numbers of another layer may move a thousand times as far: that says nothing of this one."""
    settings = {"parts": 2}
    parent = make_parent(weights(0.0), clock, **settings)
    children = join(parent, clock, "a", "b", **settings)
    scale = torch.ones(SIZE)
    scale[SIZE // 2 :] = 1e-3
    for _ in range(12):
        for child in children:
            child.learn(scale, 10)
        a_round(parent, clock, children)
    # Each part has what was learned until its last turn.
    assert torch.allclose(parent.current.weights / scale, torch.tensor([11.0] * (SIZE // 2) + [12.0] * (SIZE // 2)))


def test_a_liar_cannot_hide_a_long_change_in_a_part(clock: Clock) -> None:
    settings = {"parts": 2}
    parent = make_parent(weights(0.0), clock, **settings)
    children = join(parent, clock, "a", "b", "liar", **settings)
    for number in range(16):
        for child in children:
            child.learn(1e4 if child.name == "liar" and number >= 12 else 1.0, 10)
        a_round(parent, clock, children)
    assert float(parent.current.weights.max()) < 100.0


def test_a_resumed_parent_goes_on_with_the_next_part(clock: Clock) -> None:
    settings = OFF | {"parts": P, "outer_lr": 0.7, "outer_momentum": 0.9, "codec": "int8"}

    def after(rounds: int, resumed_at: int | None) -> torch.Tensor:
        generator = torch.Generator().manual_seed(5)
        parent = make_parent(weights(0.0), clock, **settings)
        (child,) = join(parent, clock, "a", **settings)
        for number in range(rounds):
            if number == resumed_at:
                state = parent.saved()
                exchange = Weights(**settings)
                parent = exchange.parent_class()(
                    state.current.weights, exchange, name="parent", version=state.current.version,
                    steps=state.current.steps, clock=clock,
                )  # fmt: skip
                tensors = {"velocity": state.velocity, "error": state.error}
                parent.restore(
                    {name: each for name, each in tensors.items() if each is not None}, state.merged, state.limits
                )
                child.side.joined()
                child.take(parent.join("a"))
            child.learn(noise(generator), 10)
            a_round(parent, clock, [child])
        return parent.current.weights

    assert torch.equal(after(8, None), after(8, 4))


def test_after_going_back_everything_is_sent(clock: Clock) -> None:
    settings = OFF | {"parts": P}
    parent = make_parent(weights(0.0), clock, **settings)
    (child,) = join(parent, clock, "a", **settings)
    first = parent.current
    a_round(parent, clock, play([child]))
    parent.go_back(first)
    clock.now += 5
    child.take(arrives(parent, play([child])[0].upload()))
    assert torch.equal(child.side._g, weights(0.0))
    a_round(parent, clock, play([child]))
    assert torch.equal(child.side._g, parent.current.weights)


@pytest.mark.parametrize("parts", [0, 1001])
def test_a_number_of_parts_that_cannot_be(parts: int) -> None:
    with pytest.raises(ConfigError, match=r"exchange\.parts: expected 1 to 1000"):
        Weights(parts=parts).validate()


def test_parts_need_rounds() -> None:
    with pytest.raises(ConfigError, match=r"exchange\.parts: expected 1 with exchange\.name = 'pairwise'"):
        Pairwise(parts=2).validate()
