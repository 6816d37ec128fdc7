"""Gradients in deterministic mode: whatever is late, lost or interrupted, the same bits come of it."""

import random
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

from marl.algorithms.ppo import PPO
from marl.data.normalizer import as_row, statistics_of
from marl.data.trajectory import Trajectory
from marl.exchanges.gradients.attendance import Attendance
from marl.exchanges.gradients.resting import Counts, Rests, Told
from marl.exchanges.sides import Answer, State
from marl.wire.message import Kind, Message
from marl.wire.payload import hand_over
from tests.algorithms.cases import DISCRETE, random_batch
from tests.commands import PATIENCE_S
from tests.exchanges.nodes import Clock
from tests.exchanges.shards import Fleet

T, B = 5, 2
ALGORITHM = PPO(t_max=T, epochs=1, num_minibatches=2)
ROUNDS = 3  # of each trajectory
FOREVER = 10**6


def fleet_of(nodes: int) -> Fleet:
    """One worker each; all rest after two or three trajectories."""
    return Fleet(DISCRETE, ALGORITHM, [1] * nodes, B, interval=12 * nodes, codec="int8")


def some(fleet: Fleet, seed: int) -> list[Trajectory]:
    """Trajectories for one worker."""
    with torch.no_grad():
        batches = [random_batch(DISCRETE, 10 * seed + each, T, B) for each in range(5)]
        policy = fleet.network().policy
        return [each._replace(behaviour=policy(each.observations[:-1])) for each in batches]  # type: ignore[operator]


def talk(fleet: Fleet, until: int, is_lost: Callable[[int], bool]) -> int:
    """The conversation of one child, in this thread, until a version.

    Args:
        is_lost: says of each message, in both directions, whether it is lost and the link breaks.

    Returns how often it broke.
    """
    (node,), parent = fleet.nodes, fleet.parent
    passed = breaks = 0

    def meet() -> None:
        node.side.joined()
        take(parent.join(node.name))

    def take(answer: Answer | None) -> None:
        if answer is not None:
            node.side.accept(hand_over(answer.message, node.side.receive_buffers))

    meet()
    while node.side.version < until:
        threading.Event().wait(0.001)
        for message in node.side.outgoing():
            passed += 2
            if lost := is_lost(passed - 1):
                break
            if message.info.get("rest"):
                parent.release()
            came = hand_over(message, lambda header: parent.receive_buffers(node.name, header))
            answer = parent.answer(node.name, came)
            if lost := is_lost(passed):
                break
            take(answer)
        else:
            continue
        breaks += lost
        parent.leave(node.name)
        node.side.left()
        meet()
    return breaks


def scattered(number: int) -> bool:
    return random.Random(number).random() < 0.3


@pytest.mark.parametrize(
    "is_lost",
    [lambda number: number % 6 == 1, lambda number: number % 6 == 2, scattered],
    ids=["uploads", "answers", "both"],
)
def test_lost_messages_change_no_bit(is_lost: Callable[[int], bool], fleets: list[Fleet]) -> None:
    until, ways = 8 * ROUNDS, []
    for losing in (lambda unused: False, is_lost):
        fleets.append(fleet := fleet_of(1))
        fleet.nodes[0].learn(0, some(fleet, 0), FOREVER)
        breaks = talk(fleet, until, losing)
        assert (breaks > 5) == (losing is is_lost)
        assert fleet.parent.rested.qsize() >= 2
        assert not fleet.notes + fleet.nodes[0].notes
        ways.append((fleet.parent.versions, fleet.parent.current.steps))
    (plain, steps), (broken, others) = ways
    assert steps == others
    assert all(torch.equal(plain[version], broken[version]) for version in range(until + 1))


def test_a_round_waits_for_every_child(fleets: list[Fleet]) -> None:
    """However long that takes. Then it goes on with all, as if nobody had been missing."""
    found = []
    for misses in (False, True):
        fleets.append(fleet := fleet_of(2))
        first, second = fleet.nodes
        first.connect()
        if not misses:
            second.connect()
        learning = [node.learn(0, some(fleet, rank), ROUNDS) for rank, node in enumerate(fleet.nodes)]
        if misses:
            while not fleet.parent._parts:
                threading.Event().wait(0.001)
            fleet.clock.now += 1e6
            with fleet.parent._changed:
                fleet.parent._close_if_due()
            assert fleet.parent.current.version == 0
            second.connect()
        fleet.wait(*learning)
        fleet.demand_the_same_bits()
        assert not fleet.notes
        found.append(fleet.weights())
    assert torch.equal(*found)


def rested(fleet: Fleet) -> State:
    """The next rest of all children."""
    fleet.parent.rested.get(timeout=PATIENCE_S)
    state = fleet.parent.saved()
    assert state.current.rests
    return state


def test_a_run_that_is_resumed_has_the_bits_of_one_that_was_not_interrupted(fleets: list[Fleet]) -> None:
    """The second rest of one, and that of another run that goes on from the first."""
    fleets.append(fleet := fleet_of(2))
    for rank, node in enumerate(fleet.nodes):
        node.connect()
        node.learn(0, some(fleet, rank), FOREVER)
    first = rested(fleet)
    fleet.parent.release()
    second = rested(fleet)

    fleets.append(later := fleet_of(2))
    assert first.error is not None
    later.parent.close()
    later.parent = later.make_parent(
        version=first.current.version, steps=first.current.steps, term=1, weights=first.current.weights
    )
    later.parent.restore({**first.optimizer, "error": first.error}, first.merged, first.limits)
    for rank, node in enumerate(later.nodes):
        later.parent.assign_rank(node.name, rank, 1)
        node.connect()
        node.learn(0, some(later, rank), FOREVER)
    assert rested(later).current.version == first.current.version, "it begins with the rest that it was saved in"
    later.parent.release()
    again = rested(later)
    assert (again.current.version, again.current.steps) == (second.current.version, second.current.steps)
    assert second.current.version > first.current.version
    assert torch.equal(again.current.weights, second.current.weights)
    assert not torch.equal(first.current.weights, second.current.weights)
    assert again.error is not None
    assert second.error is not None
    assert torch.equal(again.error, second.error)
    assert all(torch.equal(again.optimizer[name], second.optimizer[name]) for name in second.optimizer)


def test_no_child_plays_on_before_all_are_released(fleets: list[Fleet]) -> None:
    fleets.append(fleet := fleet_of(2))
    for rank, node in enumerate(fleet.nodes):
        node.connect()
        node.learn(0, some(fleet, rank), FOREVER)
    version = rested(fleet).current.version
    assert [int(node.block["waiting"][0, 0]) for node in fleet.nodes] == [1, 1]
    assert fleet.parent.current.version == version
    fleet.parent.release()
    assert rested(fleet).current.version > version


def test_a_rest_is_due_after_the_steps_of_an_interval_and_of_the_run() -> None:
    rests = Rests(1, version=0, steps=0, every=100, last=250)
    assert not rests.asked
    asked = [rests.ask_if_due(version, steps, 3) for version, steps in [(3, 90), (4, 110), (5, 110), (6, 120)]]
    assert asked == [False, False, False, True]
    rests.release()
    assert not rests.end_if_released(6, 130)  # the child has told nothing yet
    rests.told["a"] = Told(10, None)
    assert rests.end_if_released(6, 130)
    assert (rests.interval, rests.asked) == (6, False)
    asked = [rests.ask_if_due(version, steps, 3) for version, steps in [(9, 190), (12, 230)]]
    assert asked == [False, True]
    rests.told["a"] = Told(10, None)
    rests.release()
    assert rests.end_if_released(12, 240)
    assert rests.ask_if_due(15, 255, 3), "the run is to end"
    assert Rests(1, version=6, steps=130, every=100, last=None).asked, "a resumed run begins with a rest"
    free = Rests(None, version=6, steps=130, every=100, last=None)
    assert not free.asked
    assert not free.ask_if_due(9, 1000, 3)


def test_a_round_of_a_deterministic_run_has_no_end_but_with_all(clock: Clock) -> None:
    attendance = Attendance(clock, children=2)
    attendance.join("a", first=True)
    attendance.take("a")
    clock.now += 1e9
    assert not attendance.is_over({"a"}, ["a"])
    assert attendance.is_over({"a", "b"}, ["a"])


def test_statistics_add_up_in_the_order_of_ranks() -> None:
    """Not in the order in which children tell them."""
    generator = np.random.default_rng(0)
    rows = {name: as_row(statistics_of(generator.normal(3.0, 2.0, (7, 2)))) for name in "abc"}

    def added(names: str, ranks: str) -> torch.Tensor:
        counts = Counts(2, None, None)
        uploads = {
            name: Message(Kind.UPLOAD, name, arrays={"moments": torch.from_numpy(rows[name])}, info={"steps": 7})
            for name in names
        }
        told = {name: counts.told_by(name, upload, 10) for name, upload in uploads.items()}
        assert counts.add(told, {name: rank for rank, name in enumerate(ranks)}) == 21
        assert counts.statistics is not None
        return counts.statistics

    assert torch.equal(added("abc", "abc"), added("cba", "abc"))
    orders = [added("abc", order) for order in ("abc", "acb", "bca")]
    assert not all(torch.equal(each, orders[0]) for each in orders), "or nothing was compared"
