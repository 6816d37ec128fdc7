"""The weights exchange: what is merged counts once, what is not merged is not lost, what is refused leaves no trace."""

import numpy as np
import pytest
import torch

from marl.data.normalizer import as_slot, from_slot, moments
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.weights_parent import BAR_AFTER, BAR_ROUNDS, WeightsParent
from marl.training.node_memory import STEPS, array
from marl.wire.message import Kind, Message
from tests.exchanges.nodes import SIZE, Child, Clock, Waiting, arrives, carried, make_parent, merged_count


@pytest.fixture
def clock() -> Clock:
    return Clock()


def a_round(parent: WeightsParent, clock: Clock, children: list[Child]) -> None:
    """Every child uploads, the round closes, every child takes its answer."""
    clock.now += 5
    waiting = [Waiting(parent, child.upload()) for child in children[:-1]]
    merged_count(parent, len(waiting))
    last = arrives(parent, children[-1].upload())
    for child, each in zip(children, waiting, strict=False):
        child.take(each.answer())
    children[-1].take(last)


def join(parent: WeightsParent, clock: Clock, *names: str, **settings: object) -> list[Child]:
    children = [Child(name, clock, **settings) for name in names]  # type: ignore[arg-type]
    for child in children:
        child.take(parent.join(child.name))
    return children


def weights(value: float) -> torch.Tensor:
    return torch.full((SIZE,), value)


def test_a_child_begins_with_the_parents_weights(clock: Clock) -> None:
    child = Child("a", clock)
    assert not child.side.started.is_set()
    child.take(make_parent(weights(3.0), clock).join("a"))
    assert child.side.started.is_set()
    assert torch.equal(child.shared, weights(3.0))


def test_a_round_is_the_mean_weighted_by_work(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    a, b = join(parent, clock, "a", "b")
    a.learn(1.0, 10)
    b.learn(4.0, 30)
    a_round(parent, clock, [a, b])
    assert parent.current.version == 1
    assert parent.current.steps == 40
    assert torch.equal(parent.current.weights, weights(3.25))
    assert torch.equal(a.shared, weights(3.25))
    assert torch.equal(b.shared, weights(3.25))


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
    fast.learn(0.0, 10)
    a_round(parent, clock, [fast, slow])
    assert parent.current.steps == 30
    assert torch.equal(parent.current.weights, weights(1.0 + 8.0 / 2))


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


def test_a_straggler_is_called_and_then_left_behind(clock: Clock) -> None:
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
    call = parent.late("slow")
    assert call is not None
    assert call.message.kind is Kind.CALL
    assert parent.late("slow") is None  # once is enough
    clock.now += 2
    fast.take(waiting.answer())
    assert parent.current.version == 2


def test_a_call_makes_an_upload_due_at_once(clock: Clock) -> None:
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


@pytest.mark.parametrize("codec", ["bfloat16", "float16", "int8", "int4"])
def test_with_rounding_both_ends_hold_the_same_bits(clock: Clock, codec: str) -> None:
    parent = make_parent(torch.randn(SIZE, generator=torch.Generator().manual_seed(0)), clock, codec=codec)
    a, b = join(parent, clock, "a", "b", codec=codec)
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros(SIZE, dtype=torch.float64)
    start = parent.current.weights.clone()
    for _ in range(30):
        for child in (a, b):
            change = 0.01 * torch.randn(SIZE, generator=generator)
            total += change.double() / 2
            child.learn(change, 10)
        a_round(parent, clock, [a, b])
        assert torch.equal(a.side._g, parent.current.weights)
        assert torch.equal(b.side._g, parent.current.weights)
    # What is rounded away rides in the next message: the error does not grow with the rounds.
    drift = (parent.current.weights.double() - start.double() - total).abs().max()
    assert drift < 0.02
    assert not a.notes


def test_a_change_that_does_not_fit_is_followed_by_full_weights(clock: Clock) -> None:
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
    expected = as_slot(moments(np.array(seen[0] + seen[1])))
    assert parent.current.slot is not None
    assert parent.current.slot[0] == 400
    np.testing.assert_allclose(parent.current.slot.numpy(), expected, rtol=1e-9)
    for child in children:
        assert torch.equal(child.block["observations"][0], parent.current.slot)
    assert from_slot(parent.current.slot.numpy()).count == 400


def test_outer_momentum_carries_on(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock, outer_lr=0.7, outer_momentum=0.9)
    (child,) = join(parent, clock, "a")
    child.learn(1.0, 10)
    a_round(parent, clock, [child])
    # d = -1, v = -1: mean + .3 d - .63 v
    assert torch.allclose(parent.current.weights, weights(1.0 - 0.3 + 0.63))


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

    def place(header):  # type: ignore[no-untyped-def]
        views = parent.place("slow", header)
        clock.now += seconds
        return views

    answer = parent.answer("slow", carried(upload, place))
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


def test_a_long_absence_after_a_lost_answer_leaves_no_debt(clock: Clock) -> None:
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
    assert lost.side._work() == 0


def test_a_damaged_report_is_answered_by_nothing(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (child,) = join(parent, clock, "a")
    child.learn(1.0, 100)
    clock.now += 5
    report, upload = _hurried(child)
    carried(report, lambda header: parent.place("a", header))
    assert parent.spoiled("a", "the hash differs") is None
    child.take(arrives(parent, upload))
    assert child.side._work() == 0


def _hurried(child: Child) -> list[Message]:
    child.side.hurry()
    return list(child.side.outgoing())[-2:]


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


def test_a_child_that_is_left_out_stays_out_when_it_starts_anew(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock)
    (bad,) = join(parent, clock, "bad")
    for _ in range(BAR_AFTER):
        bad.learn(float("nan"), 10)
        clock.now += 5
        bad.take(arrives(parent, bad.upload()))
    parent.forget("bad")
    assert parent.members["bad"].barred_until == BAR_ROUNDS


def test_without_time_an_upload_that_was_lost_is_sent_again(clock: Clock) -> None:
    child = Child("a", clock, every="100 steps")
    child.side._deterministic = child.side._barrier = True
    parent = make_parent(weights(0.0), clock)
    child.take(parent.join("a"))
    waiting, pause = array(child.block, "waiting"), array(child.block, "pause")
    child.learn(1.0, 100)
    waiting[:, 0] = 1
    assert child.due() == [Kind.UPLOAD]  # and it never arrives
    child.side.left()
    child.side.joined()
    child.take(parent.join("a"))
    assert pause[0] > pause[1]  # the workers still stand still
    assert child.due() == [Kind.UPLOAD]
