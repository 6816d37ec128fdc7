"""Moments of the children's optimizers are averaged like the weights: against a literal loop in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from marl.data.node.memory import STEPS, array
from marl.errors import MessageRefused, WeightsFileError
from marl.exchanges.merging.parent import MergingParent
from marl.processes.threads import one_thread
from marl.training.optimizers import OptimizerSettings, make_optimizer
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

RATE, UPDATES, ROUNDS = 1e-2, 5, 8
BETAS = (0.9, 0.999)
MEAN, SQUARE = 0, 1  # rows of Adam's state


def gradient(rank: int, number: int) -> Tensor:
    """Of a child's update, whatever the weights are; shorter than gradients are clipped to (0.5)."""
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(1000 * rank + number)) * 0.006 * (1 + rank)


def learn(child: Child, rank: int, numbers: range, steps: int) -> None:
    """The updates of these numbers, by the real optimizer on the node's memory."""
    optimizer = make_optimizer(OptimizerSettings(), child.block["optimizer"], child.block["optimizer_steps"])
    with one_thread():  # as in a worker
        for number in numbers:
            optimizer.step(child.shared, gradient(rank, number), RATE)
    array(child.block, "counters")[0, STEPS] += steps
    array(child.block, "waiting")[:, 0] = array(child.block, "pause")[0] + 1  # workers rest, where they are asked to


class Literal:
    """A child in float64, as the formulas have it."""

    def __init__(self) -> None:
        self.weights, self.count = torch.zeros(SIZE).double(), 0
        self.state = [torch.zeros(SIZE).double(), torch.zeros(SIZE).double()]

    def learn(self, rank: int, numbers: range) -> None:
        for number in numbers:
            d = gradient(rank, number).double()
            self.count += 1
            for row, (decay, new) in enumerate(zip(BETAS, (d, d * d), strict=True)):
                self.state[row] = decay * self.state[row] + (1 - decay) * new
            first, second = (each / (1 - decay**self.count) for each, decay in zip(self.state, BETAS, strict=True))
            self.weights = self.weights - RATE * first / (second.sqrt() + OptimizerSettings().epsilon)


def mean_of(vectors: list[Tensor], work: list[int]) -> Tensor:
    total = torch.zeros(SIZE).double()
    for vector, each in zip(vectors, work, strict=True):
        total = total + each * vector
    return total / sum(work)


@pytest.mark.parametrize("moments", ["own", "second", "all"])
@pytest.mark.parametrize("count", [2, 3])
def test_with_a_barrier_children_do_what_the_literal_loop_does(moments: str, count: int, clock: Clock) -> None:
    work = [10] * count
    parent = make_parent(weights(0.0), clock, moments=moments, barrier=True, clip=math.inf)
    children = join(parent, clock, *"abc"[: len(work)], moments=moments, barrier=True)
    literal = [Literal() for _ in work]
    for number in range(ROUNDS):
        numbers = range(UPDATES * number, UPDATES * (number + 1))
        for rank, (child, other) in enumerate(zip(children, literal, strict=True)):
            learn(child, rank, numbers, work[rank])
            other.learn(rank, numbers)
        a_round(parent, clock, children)
        average = mean_of([each.weights for each in literal], work)
        rows = {"own": [], "second": [SQUARE], "all": [MEAN, SQUARE]}[moments]
        means = {row: mean_of([each.state[row] for each in literal], work) for row in rows}
        for each in literal:
            each.weights = average
            for row, mean in means.items():
                each.state[row] = mean
    for child, other in zip(children, literal, strict=True):
        assert torch.allclose(child.shared.double(), other.weights, rtol=0, atol=1e-6)
        for row in (MEAN, SQUARE):
            assert torch.allclose(child.block["optimizer"][row].double(), other.state[row], rtol=0, atol=1e-6)
        assert int(child.block["optimizer_steps"]) == other.count
    if moments == "all":  # to the bit, also at the parent
        assert parent.current.moments is not None
        assert all(torch.equal(child.block["optimizer"], parent.current.moments.vectors) for child in children)


@pytest.mark.parametrize("codec", ["float32", "int8"])
def test_updates_that_are_made_meanwhile_go_on_from_the_mean(codec: str, clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock, moments="all", codec=codec)
    children = join(parent, clock, "a", "b", moments="all", codec=codec)
    literal = [Literal(), Literal()]
    for rank, child in enumerate(children):
        learn(child, rank, range(40, 50), 10)
        literal[rank].learn(rank, range(40, 50))
    clock.now += 5
    uploads = [child.upload() for child in children]
    waiting = Waiting(parent, uploads[0])
    merged_count(parent, 1)
    answer = arrives(parent, uploads[1])
    means = [mean_of([each.state[row] for each in literal], [1, 1]) for row in (MEAN, SQUARE)]
    for rank, child in enumerate(children):
        learn(child, rank, range(50, 110), 10)
        literal[rank].state = list(means)
        literal[rank].learn(rank, range(50, 110))
    for child, each in zip(children, (waiting.answer(), answer), strict=True):
        child.take(each)
    for child, other in zip(children, literal, strict=True):
        for row in (MEAN, SQUARE):
            assert torch.allclose(child.block["optimizer"][row].double(), other.state[row], rtol=1e-4, atol=1e-6)
        assert bool((child.block["optimizer"][SQUARE] >= 0).all())


def trained(clock: Clock, moments: str = "all", **settings: object) -> tuple[MergingParent, list[Child]]:
    """A parent and two children after a round."""
    parent = make_parent(weights(0.0), clock, moments=moments, **settings)
    children = join(parent, clock, "a", "b", moments=moments, **settings)
    for rank, child in enumerate(children):
        learn(child, rank, range(UPDATES), 10)
    a_round(parent, clock, children)
    return parent, children


def test_a_child_that_joins_late_begins_with_the_mean_and_its_counter(clock: Clock) -> None:
    parent, _ = trained(clock, "second")
    (late,) = join(parent, clock, "late", moments="second")
    assert parent.current.moments is not None
    assert torch.equal(late.block["optimizer"][SQUARE], parent.current.moments.vectors[0])
    assert not late.block["optimizer"][MEAN].any()
    assert int(late.block["optimizer_steps"]) == parent.current.moments.steps == UPDATES


def test_before_the_first_round_there_is_no_mean(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock, moments="all")
    assert set(parent.join("a").message.arrays) == {"weights"}
    (child,) = join(parent, clock, "a", moments="all")
    assert not child.block["optimizer"].any()


def test_nothing_more_travels_where_moments_stay(clock: Clock) -> None:
    parent, (child, _) = trained(clock, "own")
    upload = child.upload()
    assert set(upload.arrays) == {"weights"}
    assert "optimizer_steps" not in upload.info
    answer = parent.join("a").message
    assert set(answer.arrays) == {"weights"}
    assert "optimizer_steps" not in answer.info
    assert parent.saved().optimizer == {}


def test_an_upload_that_is_not_merged_leaves_its_child_the_moments(clock: Clock) -> None:
    parent, (lost, steady) = trained(clock)
    learn(lost, 0, range(10, 20), 10)
    learn(steady, 1, range(10, 20), 10)
    own = lost.block["optimizer"].clone()
    lost.upload()  # and the link breaks
    parent.leave("a")
    a_round(parent, clock, [steady])
    lost.side.left()
    lost.side.joined()
    lost.take(parent.join("a"))
    assert torch.equal(lost.block["optimizer"], own)
    a_round(parent, clock, [lost, steady])
    assert parent.current.moments is not None
    assert torch.allclose(lost.block["optimizer"], parent.current.moments.vectors, atol=1e-7)


def nan(state: Tensor) -> None:
    state[MEAN, 3] = math.nan


def negative(state: Tensor) -> None:
    state[SQUARE, 3] = -1e-3


def huge(state: Tensor) -> None:
    state[SQUARE, 3] = 1e12  # its gradients were clipped


@pytest.mark.parametrize(("spoil", "reason"), [(nan, "finite"), (negative, "at least 0"), (huge, "long at most")])
def test_moments_that_cannot_be_are_refused_and_their_child_gets_the_mean(
    spoil: Callable[[Tensor], None], reason: str, clock: Clock
) -> None:
    parent, (bad, good) = trained(clock)
    before = parent.current
    assert before.moments is not None
    learn(bad, 0, range(10, 20), 10)
    spoil(bad.block["optimizer"])
    clock.now += 5
    bad.take(arrives(parent, bad.upload()))
    (note,) = bad.notes
    assert reason in note
    assert torch.equal(bad.block["optimizer"], before.moments.vectors)
    assert torch.equal(bad.shared, before.weights)
    learn(good, 1, range(10, 20), 10)
    learn(bad, 0, range(20, 30), 10)
    mean = (good.block["optimizer"] + bad.block["optimizer"]) / 2
    a_round(parent, clock, [bad, good])
    assert parent.current.moments is not None
    assert torch.allclose(parent.current.moments.vectors, mean, atol=1e-7)


def test_uploads_without_moments_or_of_another_length_are_refused(clock: Clock) -> None:
    parent, (child, other) = trained(clock)
    upload = child.upload()
    short = {**upload.arrays, "optimizer": torch.zeros(2, SIZE - 1)}
    none = {"weights": upload.arrays["weights"]}
    for arrays in (short, none):
        with pytest.raises(MessageRefused, match="optimizer"):
            arrives(parent, upload._replace(arrays=arrays))
    assert parent.members["a"].uploaded is False
    clock.now += 5
    learn(other, 1, range(10, 20), 10)
    counted = other.upload()
    arrives(parent, counted._replace(info={**counted.info, "optimizer_steps": -1}))
    assert parent.members["b"].refused == 1


def test_a_child_that_claims_far_more_than_is_usual_is_shortened(clock: Clock) -> None:
    parent, children = trained(clock)
    for number in range(1, 4):
        for rank, child in enumerate(children):
            learn(child, rank, range(UPDATES * number, UPDATES * (number + 1)), 10)
        a_round(parent, clock, children)
    usual = float(children[1].block["optimizer"][SQUARE].sum())
    children[0].block["optimizer"][SQUARE] += 0.4 / SIZE  # within what clipped gradients allow
    a_round(parent, clock, children)
    assert parent.current.moments is not None
    assert float(parent.current.moments.vectors[1].sum()) < 10 * usual


def test_a_counter_that_lies_moves_nobody(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock, moments="all")
    children = join(parent, clock, "a", "b", "c", moments="all")
    for rank, child in enumerate(children):
        learn(child, rank, range(10, 20), 10)
    children[0].block["optimizer_steps"].fill_(1e6)
    a_round(parent, clock, children)
    assert [int(each.block["optimizer_steps"]) for each in children] == [1_000_000, 10, 10]


@pytest.mark.parametrize("aggregate", ["median", "trimmed", "krum", "multikrum", "clip", "capped"])
def test_other_means_of_weights_are_those_of_moments_too(aggregate: str, clock: Clock) -> None:
    parent, children = trained(clock, aggregate=aggregate)
    assert parent.current.moments is not None
    assert bool((parent.current.moments.vectors[1] >= 0).all())
    assert torch.allclose(children[0].block["optimizer"], parent.current.moments.vectors, atol=1e-6)


def test_the_mean_goes_back_with_the_weights(clock: Clock) -> None:
    parent, children = trained(clock)
    before = parent.current
    for rank, child in enumerate(children):
        learn(child, rank, range(10, 20), 10)
    a_round(parent, clock, children)
    parent.go_back(before)
    assert parent.current.moments is before.moments


def test_a_resumed_parent_has_them(clock: Clock) -> None:
    parent, _ = trained(clock)
    state = parent.saved()
    resumed = make_parent(state.current.weights, clock, moments="all")
    resumed.restore(state.optimizer, {}, {})
    (child,) = join(resumed, clock, "a", moments="all")
    assert parent.current.moments is not None
    assert torch.equal(child.block["optimizer"], parent.current.moments.vectors)
    assert int(child.block["optimizer_steps"]) == UPDATES
    with pytest.raises(WeightsFileError, match="moments"):
        make_parent(state.current.weights, clock, moments="second").restore(state.optimizer, {}, {})


def test_a_round_without_work_has_no_new_mean(clock: Clock) -> None:
    parent, children = trained(clock)
    before = parent.current.moments
    for child in children:
        child.shared.copy_(parent.current.weights)
        array(child.block, "counters")[0, STEPS] += 5  # it has played, but learned nothing
    a_round(parent, clock, children)
    assert parent.current.moments is before
