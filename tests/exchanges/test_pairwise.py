"""Pairwise mixing: each upload moves the parent's weights, each answer that child's, and nobody waits."""

import pytest
import torch

from marl.exchanges.member import QUARANTINE_AFTER, SHORT_QUARANTINE
from marl.exchanges.merging.parent import MergingParent
from tests.exchanges.nodes import SIZE, Child, Clock, arrives, join, make_parent


def weights(value: float) -> torch.Tensor:
    return torch.full((SIZE,), value)


@pytest.mark.parametrize("codec", ["float32", "bfloat16", "float16"])
def test_two_children_take_turns(codec: str) -> None:
    clock = Clock()
    settings = {"name": "pairwise", "alpha": 0.25, "beta": 0.5, "codec": codec}
    parent = make_parent(weights(0.0), clock, **settings)
    a, b = Child("a", clock, **settings), Child("b", clock, **settings)
    for child in (a, b):
        child.take(parent.join(child.name))
    a.learn(4.0, 10)
    clock.now += 5
    upload = a.upload()
    a.learn(1.0, 3)
    a.take(arrives(parent, upload))
    assert torch.equal(parent.current.weights, weights(1.0))  # .75 * 0 + .25 * 4
    assert torch.equal(a.shared, weights(5.0 + 0.5 * (1.0 - 4.0)))
    b.learn(5.0, 20)
    clock.now += 5
    b.take(arrives(parent, b.upload()))
    assert torch.equal(parent.current.weights, weights(2.0))  # .75 * 1 + .25 * 5
    assert torch.equal(b.shared, weights(5.0 + 0.5 * (2.0 - 5.0)))
    assert parent.current.steps == 30
    clock.now += 5
    a.take(arrives(parent, a.upload()))
    assert parent.current.steps == 33  # the three that were made meanwhile


@pytest.mark.parametrize("elastic", [0.45, 0.225, 0.9 / 8, 0.5])
def test_one_beta_makes_it_elastic_averaging(elastic: float) -> None:
    """Zhang et al. (2015), algorithm 1, with one step of each child in turn: both move by the same difference."""
    clock = Clock()
    settings = {"name": "pairwise", "alpha": elastic, "beta": elastic / (1 - elastic)}
    generator = torch.Generator().manual_seed(1)
    centre = torch.randn(SIZE, generator=generator)
    parent = make_parent(centre, clock, **settings)
    children = join(parent, clock, "a", "b", **settings)
    centre = centre.double()
    literal = [centre.clone() for _ in children]
    for turn in range(20):
        child, own = children[turn % 2], literal[turn % 2]
        step, later = torch.randn(2, SIZE, generator=generator)
        child.learn(step, 10)
        clock.now += 5
        upload = child.upload()
        child.learn(later, 10)  # while weights travel
        child.take(arrives(parent, upload))
        own += step.double()
        difference = elastic * (own - centre)
        own += later.double() - difference
        centre += difference
    assert torch.allclose(parent.current.weights.double(), centre, atol=1e-5)
    for child, own in zip(children, literal, strict=True):
        assert torch.allclose(child.shared.double(), own, atol=1e-5)


def test_what_is_not_finite_is_refused() -> None:
    clock = Clock()
    parent = make_parent(weights(1.0), clock, name="pairwise")
    child = Child("a", clock, name="pairwise")
    child.take(parent.join("a"))
    child.learn(float("nan"), 10)
    clock.now += 5
    child.take(arrives(parent, child.upload()))
    assert torch.equal(parent.current.weights, weights(1.0))
    assert torch.equal(child.shared, weights(1.0))


def sent(parent: MergingParent, clock: Clock, child: Child, delta: float) -> int:
    """Versions that an upload makes."""
    before = parent.current.version
    child.learn(delta, 10)
    clock.now += 5
    child.take(arrives(parent, child.upload()))
    return parent.current.version - before


def test_a_child_that_is_refused_again_and_again_is_quarantined_for_a_while() -> None:
    clock = Clock()
    parent = make_parent(weights(1.0), clock, name="pairwise")
    good, other, bad = join(parent, clock, "good", "other", "bad", name="pairwise")
    for _ in range(QUARANTINE_AFTER):
        sent(parent, clock, bad, float("nan"))
    for _ in range(SHORT_QUARANTINE):
        assert [sent(parent, clock, bad, 0.1) for _ in range(20)] == [0] * 20  # its own uploads shorten nothing
        assert sent(parent, clock, good, 0.1) == sent(parent, clock, other, 0.1) == 1
    assert sent(parent, clock, bad, 0.1) == 1


@pytest.mark.parametrize("name", ["weights", "pairwise"])
def test_a_child_that_is_quarantined_goes_on_when_it_is_alone(name: str) -> None:
    clock = Clock()
    parent = make_parent(weights(1.0), clock, name=name)
    (child, other) = join(parent, clock, "a", "b", name=name)
    parent.accuse("a", "it lies")
    assert sent(parent, clock, child, 0.1) == 0
    parent.leave("b")
    assert sent(parent, clock, child, 0.1) == 1
    for _ in range(QUARANTINE_AFTER):
        assert sent(parent, clock, child, float("nan")) == 0
    assert sent(parent, clock, child, 0.1) == 1
    other.take(parent.join("b"))
    assert sent(parent, clock, child, 0.1) == 0
    parent.accuse("b", "it lies more")  # and is quarantined for longer
    parent.members["b"].quarantined_until += 100
    assert sent(parent, clock, other, 0.1) == 0
    assert sent(parent, clock, child, 0.1) == 1


def test_a_repeated_upload_is_mixed_in_once() -> None:
    clock = Clock()
    parent = make_parent(weights(0.0), clock, name="pairwise")
    child = Child("a", clock, name="pairwise")
    child.take(parent.join("a"))
    child.learn(2.0, 10)
    clock.now += 5
    upload = child.upload()
    arrives(parent, upload)
    arrives(parent, upload)
    assert torch.equal(parent.current.weights, weights(1.0))
    assert parent.current.version == 1
