"""What must not be used is refused with a reason, leaves no trace in the mean, and costs its child nothing else."""

import pytest
import torch

from marl.averaging.reach import Reach
from marl.data.node.memory import STEPS, array
from marl.exchanges.member import QUARANTINE, QUARANTINE_AFTER, SHORT_QUARANTINE
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.sides import Standing
from marl.exchanges.weights.parent import WeightsParent
from tests.exchanges.nodes import (
    SEEN_BESIDE,
    SIZE,
    Clock,
    Waiting,
    a_round,
    arrives,
    carried,
    flushed,
    join,
    make_parent,
    merged_count,
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


def test_a_child_that_is_refused_again_and_again_is_quarantined_for_a_while(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    good, bad = join(parent, clock, "good", "bad")
    for _ in range(QUARANTINE_AFTER):
        bad.learn(float("nan"), 10)
        clock.now += 5
        bad.take(arrives(parent, bad.upload()))
    for _ in range(SHORT_QUARANTINE):  # nobody waits for it
        good.learn(0.0, 10)
        a_round(parent, clock, [good])
        bad.learn(1.0, 10)
        bad.take(arrives(parent, bad.upload()))
    assert parent.current.steps == 10 * SHORT_QUARANTINE
    bad.take(parent.join("bad"))  # in step again
    bad.learn(2.0, 10)
    good.learn(0.0, 10)
    a_round(parent, clock, [bad, good])
    assert parent.current.steps > 10 * SHORT_QUARANTINE + 10  # what it has learned since counts again
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
    for child, delta in zip(children, (1.0, 1.0, -500.0), strict=True):
        child.learn(delta, 10)
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
    report, upload = flushed(child)
    carried(report, lambda header: parent.receive_buffers("a", header))
    assert parent.rejected("a", "the hash differs") is None
    child.take(arrives(parent, upload))
    assert child.side._unmerged.work() == 0


@pytest.mark.parametrize("bad", [[1e300, 1e200], [10.0, 1e30], [float("nan"), 0.0]])
def test_no_child_can_spoil_the_normaliser(clock: Clock, bad: list[float]) -> None:
    parent = make_parent(weights(0.0), clock, normalizes=True)
    (child,) = join(parent, clock, "a", normalizes=True)
    array(child.block, "observations")[1, :2] = bad
    child.learn(1.0, 10)
    clock.now += 5
    child.take(arrives(parent, child.upload()))
    assert parent.current.statistics is not None
    assert not parent.current.statistics.any()
    assert any("refused" in note for note in child.notes)


def test_a_child_that_is_quarantined_stays_so_when_it_starts_anew(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (bad,) = join(parent, clock, "bad")
    for _ in range(QUARANTINE_AFTER):
        bad.learn(float("nan"), 10)
        clock.now += 5
        bad.take(arrives(parent, bad.upload()))
    parent.forget("bad")
    assert parent.members["bad"].quarantined_until == SHORT_QUARANTINE


@pytest.mark.parametrize("name", ["weights", "pairwise"])
def test_an_upload_of_nothing_says_nothing_of_observations(clock: Clock, name: str) -> None:
    parent = make_parent(weights(0.0), clock, normalizes=True, name=name)
    (child,) = join(parent, clock, "a", normalizes=True, name=name)
    array(child.block, "observations")[1, :2] = [1e6, 7.0]
    child.learn(1.0, 0)
    clock.now += 5
    child.take(arrives(parent, child.upload()))
    child.learn(1.0, 10)
    clock.now += 5
    child.take(arrives(parent, child.upload()))
    assert parent.current.statistics is not None
    assert parent.current.statistics[0] <= 2 * SEEN_BESIDE + 4 * 10


@pytest.mark.parametrize("settings", [{"name": "weights"}, {"name": "pairwise"}, {"aggregate": "median"}])
def test_no_work_moves_nothing(clock: Clock, settings: dict[str, str]) -> None:
    parent = make_parent(weights(0.0), clock, **settings)
    honest, idle = join(parent, clock, "honest", "idle", **settings)
    honest.learn(1.0, 10)
    idle.learn(-7.0, 0)
    clock.now += 5
    if settings.get("name") == "pairwise":
        idle.take(arrives(parent, idle.upload()))
        assert parent.current.version == 0
        assert not parent.current.weights.any()
    else:
        a_round(parent, clock, [idle, honest])
        assert torch.equal(parent.current.weights, weights(1.0))
        assert parent.current.steps == 10


@pytest.mark.parametrize("work", [-1, 2**53 + 1, 1.5, "many", None, True])
@pytest.mark.parametrize("name", ["weights", "pairwise"])
def test_work_is_a_count_in_every_exchange(clock: Clock, name: str, work: object) -> None:
    parent = make_parent(weights(0.0), clock, name=name)
    (child,) = join(parent, clock, "a", name=name)
    child.learn(1.0, 10)
    clock.now += 5
    upload = child.upload()
    child.take(arrives(parent, upload._replace(info={"work": work})))  # type: ignore[dict-item]
    assert parent.current.version == 0
    assert any("refused" in note for note in child.notes)


@pytest.mark.parametrize("name", ["weights", "pairwise"])
def test_a_first_upload_is_no_longer_than_learning_can_be(clock: Clock, name: str) -> None:
    """Nothing is known of earlier ones: what the optimizer can do bounds it."""
    reach = Reach(usual=0.1, most=0.7, warm_up=0.0, per_step=1.0, per_trajectory=0.0, lag=0.0)
    parent = make_parent(weights(1.0), clock, name=name, alpha=1.0, reach=reach)
    (child,) = join(parent, clock, "a", name=name, alpha=1.0)
    child.learn(1.0, 10)
    clock.now += 5
    child.take(arrives(parent, child.upload()))
    moved = float((parent.current.weights - 1.0).norm())
    assert moved == pytest.approx(0.1 * 2 * 10, rel=1e-4)


@pytest.mark.parametrize("name", ["weights", "pairwise"])
def test_a_child_that_pulls_for_long_is_named_and_quarantined(clock: Clock, name: str) -> None:
    reach = Reach(usual=0.01, most=0.07, warm_up=0.0, per_step=1.0, per_trajectory=0.0, lag=0.0)
    notes: list[str] = []
    parent = make_parent(weights(1.0), clock, name=name, reach=reach, note=notes.append)
    honest, liar = join(parent, clock, "honest", "liar", name=name)
    for _ in range(30):
        for child, length in ((honest, 0.05), (liar, 0.9)):
            child.shared.copy_(child.side._g)
            child.learn(length * torch.nn.functional.normalize(torch.ones(SIZE), dim=0), 10)
        if name == "weights":
            a_round(parent, clock, [liar, honest] if parent.members["liar"].quarantined_until == 0 else [honest])
        else:
            clock.now += 5
            for child in (honest, liar):
                child.take(arrives(parent, child.upload()))
    assert [note for note in notes if "quarantined" in note] == [
        note for note in notes if note.startswith("liar is quarantined")
    ]
    assert "liar is quarantined for 100 rounds: its last 5 changes" in "\n".join(notes)
    assert parent.members["liar"].quarantines == 1
    resumed = make_parent(weights(1.0), clock, name=name)
    resumed.restore({}, {}, parent.saved().limits)
    resumed.join("liar")
    assert resumed.members["liar"].quarantined_until > 50


def test_a_child_that_is_set_aside_keeps_its_longer_bar(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    join(parent, clock, "a", "b")
    parent.accuse("a", "it lies")
    parent.set_aside("a")
    parent.take_back("a")
    assert parent.standing("a") is Standing.QUARANTINED
    assert parent.standing("b") is Standing.TAKES_PART
    parent.set_aside("b")
    parent.accuse("b", "it lies")
    assert parent.saved().limits["quarantined"] == {"a": QUARANTINE, "b": QUARANTINE}
    parent.leave("b")
    assert parent.standing("b") is Standing.GONE


def test_going_back_begins_a_new_round(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    first, second = join(parent, clock, "a", "b")
    before = parent.current
    first.learn(1.0, 10)
    clock.now += 5
    waiting = Waiting(parent, first.upload())
    merged_count(parent, 1)
    parent.go_back(before)
    first.take(waiting.answer())
    assert not parent.members["a"].uploaded
    second.learn(1.0, 10)
    second.take(arrives(parent, second.upload()))  # of weights that are no longer the newest
    for child in (first, second):
        child.learn(2.0, 10)
    a_round(parent, clock, [first, second])  # both are waited for, and merged
    assert parent.current.steps == 30  # what the second had learned since counts again
