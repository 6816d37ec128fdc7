"""A parent that died and was resumed from what it saved: the same memory, a new term, and children that follow."""

import time

import numpy as np
import pytest
import torch

from marl.data.normalizer import from_row
from marl.errors import WeightsFileError
from marl.exchanges.run import RunSettings
from marl.exchanges.sides import State
from marl.exchanges.weights.parent import WeightsParent
from tests.exchanges.nodes import (
    OBSERVATION,
    SIZE,
    Child,
    Clock,
    a_round,
    arrives,
    join,
    make_exchange,
    make_parent,
    weights,
)

RICH = {"codec": "int8", "outer_lr": 0.7, "outer_momentum": 0.9}
ADAM = {"moments": "all", "outer_optimizer": "adam", "outer_lr": 0.01}


def resumed(state: State, clock: Clock, term: int = 1, **settings: object) -> WeightsParent:
    """The parent that goes on from a checkpoint, in a new term."""
    exchange = make_exchange(**settings)
    current = state.current
    parent = exchange.parent_class()(
        current.weights,
        exchange,
        name="parent",
        observation_size=OBSERVATION if current.statistics is not None else 0,
        statistics=None if current.statistics is None else from_row(current.statistics.numpy()),
        term=term,
        version=current.version,
        steps=current.steps,
        moments=exchange.merged_moments(RunSettings(), SIZE),
        clock=clock,
    )
    vectors = {"velocity": state.velocity, "error": state.error}
    saved = {name: each for name, each in vectors.items() if each is not None} | dict(state.optimizer)
    parent.restore(saved, state.merged, state.limits)
    return parent


def back(parent: WeightsParent, children: list[Child]) -> None:
    """The children's links to the old parent broke; here is the new one."""
    for child in children:
        child.side.left()
        child.side.joined()
        child.take(parent.join(child.name))


def rounds(parent: WeightsParent, clock: Clock, children: list[Child], count: int, seed: int) -> None:
    generator, random = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    for _ in range(count):
        for child in children:
            child.learn(0.01 * torch.randn(SIZE, generator=generator), 10)
            child.see(random.normal(size=(child.side.version + 5, OBSERVATION)).tolist())
        a_round(parent, clock, children)


def test_it_has_everything_that_was_saved(clock: Clock) -> None:
    parent = make_parent(weights(1.0), clock, normalizes=True, **RICH)
    children = join(parent, clock, "a", "b", normalizes=True, **RICH)
    rounds(parent, clock, children, 3, seed=0)
    before = parent.saved()
    after = resumed(before, clock, **RICH).saved()
    for one, other in (
        (before.current.weights, after.current.weights),
        (before.current.statistics, after.current.statistics),
        (before.velocity, after.velocity),
        (before.error, after.error),
    ):
        assert one is not None
        assert other is not None
        assert one.any()
        assert torch.equal(one, other)
    assert (after.current.version, after.current.steps) == (3, 60)
    assert after.merged == {"a": 3, "b": 3}


@pytest.mark.parametrize("settings", [{}, RICH, ADAM], ids=str)
def test_a_run_that_was_resumed_comes_to_the_same_weights(settings: dict[str, object], clock: Clock) -> None:
    ends = []
    for breaks in (False, True):
        parent = make_parent(weights(1.0), clock, normalizes=True, **settings)
        children = join(parent, clock, "a", "b", normalizes=True, **settings)
        rounds(parent, clock, children, 2, seed=0)
        if breaks:
            parent = resumed(parent.saved(), clock, **settings)
            back(parent, children)
        rounds(parent, clock, children, 2, seed=1)
        ends.append((parent.saved(), [child.shared.clone() for child in children]))
    (straight, theirs), (broken, others) = ends
    assert torch.equal(straight.current.weights, broken.current.weights)
    assert straight.current.statistics is not None
    assert broken.current.statistics is not None
    assert torch.equal(straight.current.statistics, broken.current.statistics)
    assert straight.current.steps == broken.current.steps == 80
    for one, other in zip(theirs, others, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("saved", [True, False])
def test_a_child_hears_whether_its_last_upload_is_in_what_was_saved(saved: bool, clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a")
    child.learn(1.0, 10)
    a_round(parent, clock, [child])
    state = parent.saved()
    child.learn(2.0, 20)
    clock.now += 5
    assert arrives(parent, child.upload()) is not None  # and the parent is killed
    child.learn(0.5, 5)
    parent = resumed(parent.saved() if saved else state, clock)
    back(parent, [child])
    assert child.side._unmerged.work() == (5 if saved else 25)
    assert torch.equal(child.shared, weights(3.5))
    a_round(parent, clock, [child])
    assert parent.current.steps == 35
    assert torch.equal(parent.current.weights, weights(3.5))


@pytest.mark.parametrize("later", [0, 2, 8])
def test_a_child_moves_by_the_difference_of_the_parents(later: int, clock: Clock) -> None:
    """It held version 3 of the old term. The new one's may be less, may be 3 too, or may be more: never just the same
    again, and never too far behind to be used.
    """
    parent = make_parent(weights(0.0), clock)
    child, helper = join(parent, clock, "child", "helper")
    for each in (child, helper):
        each.learn(1.0, 10)
    a_round(parent, clock, [child, helper])
    state = parent.saved()  # version 1, weights 1
    for _ in range(2):
        child.learn(2.0, 10)
        helper.learn(2.0, 10)
        a_round(parent, clock, [child, helper])
    assert (child.side.term, child.side.version) == (0, 3)
    child.learn(0.25, 7)  # on top of 5
    child.block["optimizer"].fill_(1.0)

    parent = resumed(state, clock)
    back(parent, [helper])
    for _ in range(later):
        helper.shared.copy_(helper.side._g)
        helper.learn(2.0, 10)
        a_round(parent, clock, [helper])
    back(parent, [child])
    theirs = 1.0 + 2.0 * later
    assert (child.side.term, child.side.version) == (1, 1 + later)
    assert torch.equal(child.shared, weights(5.25 + (theirs - 5.0)))
    assert child.block["optimizer"].all()
    assert child.side._unmerged.work() == 7


def test_an_upload_from_the_old_term_is_not_merged(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a")
    child.learn(1.0, 10)
    a_round(parent, clock, [child])
    child.learn(2.0, 10)
    clock.now += 5
    upload = child.upload()
    parent = resumed(parent.saved(), clock)
    back(parent, [child])
    assert (upload.version, upload.term) == (parent.current.version, 0)
    clock.now += 5
    child.take(arrives(parent, upload))
    assert (parent.current.version, parent.current.steps) == (1, 10)
    a_round(parent, clock, [child])  # it is in the next upload
    assert parent.current.steps == 20
    assert torch.equal(parent.current.weights, weights(3.0))


@pytest.mark.parametrize(("away", "counted"), [(300.0, 100_000), (0.0, 0), (-300.0, 0), (1e9, 100_000)])
def test_what_children_learned_while_no_parent_lived_counts(
    away: float, counted: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = 1e9
    monkeypatch.setattr(time, "time", lambda: world)
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a")
    child.learn(1.0, 10)
    a_round(parent, clock, [child])
    state, other = parent.saved(), Clock()  # of another machine, or after another start
    other.now = 20.0
    world += away
    clock.now += max(0.0, away)
    parent = resumed(state, other)
    back(parent, [child])
    child.learn(1.0, 100_000)
    child.take(arrives(parent, child.upload()))
    assert parent.current.steps == 10 + counted


@pytest.mark.parametrize("merged_at", [None, [], {"a": "x"}, {"a": float("nan")}, {"a": 2**64}, {"b": 1.0}], ids=str)
def test_odd_times_in_a_checkpoint_are_none(merged_at: object, clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    join(parent, clock, "a")
    state = parent.saved()
    state.limits["merged_at"] = merged_at
    assert clock.now - resumed(state, clock).members["a"].merged_at in (0.0, clock.now)


@pytest.mark.parametrize("name", ["velocity", "error"])
@pytest.mark.parametrize(
    "bad", [torch.zeros(3), torch.zeros(SIZE, 2), torch.tensor(1.0), torch.tensor([torch.nan] * SIZE)]
)
def test_vectors_that_nobody_saved_are_refused_by_name(name: str, bad: torch.Tensor, clock: Clock) -> None:
    parent = make_parent(weights(1.0), clock, **RICH)
    with pytest.raises(WeightsFileError, match=f"the checkpoint's {name}: expected "):
        parent.restore({name: bad}, {}, {})
