"""What must not be used is refused with a reason, leaves no trace in the mean, and costs its child nothing else."""

import pytest
import torch

from marl.exchanges.rounds import BAR_AFTER, BAR_ROUNDS
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.weights_parent import WeightsParent
from marl.training.node_memory import STEPS, array
from tests.exchanges.nodes import (
    Clock,
    a_round,
    arrives,
    carried,
    hurried,
    join,
    make_parent,
    weights,
)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_weights_that_are_not_finite_never_reach_the_mean(clock: Clock, bad: float) -> None:
    parent = make_parent(weights(0.0), clock)
    good, poisoned = join(parent, clock, "good", "poisoned")
    good.learn(1.0, 10)
    poisoned.learn(1.0, 10)
    poisoned.shared[7] = bad
    clock.now += 5
    answer = arrives(parent, poisoned.upload())  # at once: there is nothing to wait for
    poisoned.take(answer)
    assert torch.equal(poisoned.shared, weights(0.0))
    assert any("refused" in note for note in poisoned.notes)
    a_round(parent, clock, [good, poisoned])
    assert torch.equal(parent.current.weights, weights(1.0))


def test_a_child_that_is_refused_again_and_again_is_left_out_for_a_while(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    good, bad = join(parent, clock, "good", "bad")
    for _ in range(BAR_AFTER):
        bad.learn(float("nan"), 10)
        clock.now += 5
        bad.take(arrives(parent, bad.upload()))
    for _ in range(BAR_ROUNDS):  # nobody waits for it
        good.learn(0.0, 10)
        a_round(parent, clock, [good])
        bad.learn(1.0, 10)
        bad.take(arrives(parent, bad.upload()))
    assert parent.current.steps == 10 * BAR_ROUNDS
    bad.take(parent.join("bad"))  # in step again
    bad.learn(2.0, 10)
    good.learn(0.0, 10)
    a_round(parent, clock, [bad, good])
    assert parent.current.steps > 10 * BAR_ROUNDS + 10  # what it has learned since counts again
    assert bool(parent.current.weights.isfinite().all())


def test_claims_of_work_are_capped(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    honest, liar = join(parent, clock, "honest", "liar")
    for _ in range(5):
        for child in (honest, liar):
            child.learn(0.0, 100)
        a_round(parent, clock, [honest, liar])
    honest.learn(0.0, 100)
    array(liar.block, "counters")[0, STEPS] += 10**12
    before = parent.current.steps
    a_round(parent, clock, [honest, liar])
    assert parent.current.steps - before <= 100 + 4 * 100


def test_a_robust_rule_withstands_a_poisoned_child_and_says_what_it_costs(clock: Clock) -> None:
    said: list[str] = []
    settings = ExchangeSettings(aggregate="median")
    parent = WeightsParent(weights(0.0), settings, name="parent", note=said.append, clock=clock)
    assert "keeps a copy of every upload" in said[0]
    children = join(parent, clock, "a", "b", "c")
    for child, change in zip(children, (1.0, 1.0, -500.0), strict=True):
        child.learn(change, 10)
    a_round(parent, clock, children)
    assert torch.equal(parent.current.weights, weights(1.0))


def test_a_first_claim_of_work_is_bounded_too(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (liar,) = join(parent, clock, "liar")
    array(liar.block, "counters")[0, STEPS] = 2**53
    a_round(parent, clock, [liar])
    assert parent.current.steps <= 5 * 1e7


def test_a_damaged_report_is_answered_by_nothing(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a")
    child.learn(1.0, 100)
    clock.now += 5
    report, upload = hurried(child)
    carried(report, lambda header: parent.place("a", header))
    assert parent.spoiled("a", "the hash differs") is None
    child.take(arrives(parent, upload))
    assert child.side._work() == 0


@pytest.mark.parametrize("bad", [[1e300, 1e200], [1e15, 0.0], [float("nan"), 0.0]])
def test_no_child_can_spoil_the_normaliser(clock: Clock, bad: list[float]) -> None:
    parent = make_parent(weights(0.0), clock, normalizes=True)
    (child,) = join(parent, clock, "a", normalizes=True)
    array(child.block, "observations")[1, :2] = bad
    child.learn(1.0, 10)
    clock.now += 5
    child.take(arrives(parent, child.upload()))
    assert parent.current.slot is not None
    assert not parent.current.slot.any()
    assert any("refused" in note for note in child.notes)


def test_a_child_that_is_left_out_stays_out_when_it_starts_anew(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (bad,) = join(parent, clock, "bad")
    for _ in range(BAR_AFTER):
        bad.learn(float("nan"), 10)
        clock.now += 5
        bad.take(arrives(parent, bad.upload()))
    parent.forget("bad")
    assert parent.members["bad"].barred_until == BAR_ROUNDS
