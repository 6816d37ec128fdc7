"""Lockstep of actors and a learner, for virtual time: what each round is played with, and what it waits for."""

import itertools
import threading
from collections.abc import Iterator

import pytest

from marl.data.node.send_queue import RING_LENGTH
from marl.errors import ConfigError
from marl.exchanges.experience.lockstep import PartRest, Parts, trajectories_a_round
from marl.exchanges.experience.lockstep_child import LockstepChild
from tests.commands import PATIENCE_S
from tests.exchanges.actors import PER_WORKER, Actors
from tests.exchanges.lockstep_run import LockstepRun
from tests.exchanges.nodes import Clock


@pytest.fixture
def runs() -> Iterator[list[LockstepRun]]:
    made: list[LockstepRun] = []
    yield made
    for each in made:
        each.close()


@pytest.mark.parametrize(
    ("batch", "children", "workers", "each"),
    [
        (4, 4, 1, 1),
        (8, 4, 1, 2),
        (8, 2, 2, 2),
        (2, 4, 1, 1),  # a round is two batches
        (1, 1, 1, 1),
        (5, 2, 1, 2),
        (100, 1, 1, RING_LENGTH),  # several rounds make a batch
    ],
)
def test_a_round_is_a_batch_if_workers_are_few_enough(batch: int, children: int, workers: int, each: int) -> None:
    assert trajectories_a_round(batch, children, workers) == each


def test_workers_stand_still_when_they_have_played_their_part(clock: Clock) -> None:
    child = Actors("a", clock, workers=2, kind=LockstepChild)
    parts = Parts(child.block)
    parts.begin(2)
    resting = [threading.Thread(target=PartRest(child.block, worker)) for worker in range(2)]
    child.play(0)
    child.play(1)
    for thread in resting:  # each has another one to play
        thread.start()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert not parts.are_played()
    child.play(0)
    child.play(1)
    assert not parts.are_played()  # what they were busy for may not be written yet
    resting = [threading.Thread(target=PartRest(child.block, worker)) for worker in range(2)]
    for thread in resting:
        thread.start()
    while not parts.are_played():
        pass
    assert not parts.are_sent()
    parts.begin(1)  # what was played is given up
    for thread in resting:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert child.uploads() == []


def test_a_round_is_played_with_all_rounds_but_the_last(clock: Clock, runs: list[LockstepRun]) -> None:
    run = LockstepRun(clock, 1, 1, batch=2, queue=2)
    runs.append(run)
    a, b = run.children
    run.join(a, b)
    came = []
    for _ in range(5):
        run.play(a, b)
        run.send(a, b)
        run.play(a, b)  # the next round, while the learner learns
        came.append(sorted(run.learn()))
        run.end_round()
    first = PER_WORKER * 10  # of the second child
    assert came == [[number, first + number] for number in range(5)]
    assert run.versions["a"] == run.versions["b"] == [0, 0, 1, 2, 3, 4]
    assert run.learning.flow().ages[:3].tolist() == [2, 8, 0]


@pytest.mark.parametrize(
    ("learns_s", "versions"),
    [
        (0.2, [0, 0, 1, 2, 3, 4]),  # .25 there, .2, .25 back: in the second of playing
        (3.0, [0, 0, 0, 1, 2, 3]),  # a third round is played meanwhile
    ],
)
def test_what_has_not_come_is_used_a_round_later(
    clock: Clock, runs: list[LockstepRun], learns_s: float, versions: list[int]
) -> None:
    run = LockstepRun(clock, 1, 1, batch=2, queue=4)
    runs.append(run)
    run.join(*run.children)
    run.play(*run.children, seconds=1.0)
    ends = []
    for _ in range(5):
        run.send(*run.children)
        run.play(*run.children, seconds=1.0)
        run.learn(seconds=learns_s)
        run.end_round()
        ends.append(run.timer.seconds)
    assert run.versions["a"] == run.versions["b"] == versions
    assert [after - before for before, after in itertools.pairwise(ends)] == pytest.approx(
        4 * [max(1.0, learns_s)], abs=0.1
    )


def test_a_child_that_is_ahead_waits_for_the_others(clock: Clock, runs: list[LockstepRun]) -> None:
    run = LockstepRun(clock, 1, 1, batch=2)
    runs.append(run)
    a, b = run.children
    run.join(a, b)
    run.play(a)
    run.send(a)
    run.play(a)
    assert a.uploads() == []  # of the second round, which it has played
    run.play(a)
    assert a.played == [2]
    run.play(b)
    run.send(b)
    run.learn()
    run.end_round()
    assert len(a.uploads()) == 1


def test_virtual_seconds_are_those_of_children_and_learner_side_by_side(clock: Clock, runs: list[LockstepRun]) -> None:
    run = LockstepRun(clock, 2, 1, batch=3)
    runs.append(run)
    a, b = run.children
    run.join(a, b)
    ends = []
    for _ in range(4):
        run.play(a, seconds=2.0)
        run.play(b, seconds=1.0)
        run.send(a, b)
        run.learn(seconds=1.0)
        run.end_round()
        ends.append(run.timer.seconds)
    # Played at 2.25, 4.25, ..., for the weights of the round before the last are there: .25 up and 1 to learn.
    # Less what the parent's threads looked at the learner, which is no time of the clock that the test moves.
    assert ends == pytest.approx([3.5, 5.5, 7.5, 9.5], abs=0.1)


def test_a_round_of_more_workers_than_a_batch_is_several_batches(clock: Clock, runs: list[LockstepRun]) -> None:
    run = LockstepRun(clock, 2, 2, batch=2, queue=4)
    runs.append(run)
    run.join(*run.children)
    for _ in range(3):
        run.play(*run.children)
        run.send(*run.children)
        run.learn()
        run.learn()
        run.end_round()
    assert run.versions["a"] == [0, 0, 0, 0, 2, 2]


def test_a_batch_of_several_rounds_is_learned_from_when_it_is_whole(clock: Clock, runs: list[LockstepRun]) -> None:
    run = LockstepRun(clock, 1, 1, 1, batch=5, queue=3)
    runs.append(run)
    run.join(*run.children)
    for whole in (False, True, False, True):
        run.play(*run.children)
        run.send(*run.children)
        if whole:
            run.learn()
        run.end_round()
    assert run.versions["c"] == [0, 0, 0, 1]


def test_a_child_that_leaves_is_not_waited_for(clock: Clock, runs: list[LockstepRun]) -> None:
    run = LockstepRun(clock, 1, 1, batch=2)
    runs.append(run)
    a, b = run.children
    run.join(a, b)
    run.play(a)
    run.send(a)
    run.side.leave("b")
    run.end_round()  # half a batch: there is nothing to learn from yet
    run.play(a)
    run.send(a)
    run.learn()
    run.end_round()
    assert run.versions["a"] == [0, 0]
    b.side.joined()
    run.join(b)  # with the weights that are the newest now
    run.play(b)
    assert run.versions["b"] == [1]
    run.send(b)  # from now on it is waited for again
    run.play(a)
    run.send(a)
    run.learn()
    run.end_round()


def test_a_child_that_is_late_is_not_waited_for(clock: Clock, runs: list[LockstepRun]) -> None:
    run = LockstepRun(clock, 1, 1, batch=1)
    runs.append(run)
    a, b = run.children
    run.join(a, b)
    run.play(a, b)
    run.send(a)
    run.learn()
    clock.now += 6.0
    run.end_round()
    run.play(a)
    run.send(b, a)  # it has a part in the next round
    run.learn()
    run.learn()
    run.end_round()
    assert run.side._credit.round == 2


def test_the_first_round_waits_for_children_that_have_not_come_yet(clock: Clock, runs: list[LockstepRun]) -> None:
    run = LockstepRun(clock, 1, 1, batch=1)
    runs.append(run)
    a, b = run.children
    run.join(a)
    run.play(a)
    run.send(a)
    run.learn()
    clock.now += 2.0
    assert run.side._credit.round == 0
    run.join(b)
    run.play(b)
    run.send(b)
    run.learn()
    run.end_round()


def test_a_part_of_a_broken_conversation_is_given_up(clock: Clock, runs: list[LockstepRun]) -> None:
    run = LockstepRun(clock, 2, batch=2)
    runs.append(run)
    (a,) = run.children
    run.join(a)
    run.play(a)
    run.side.leave("a")
    a.side.joined()
    assert a.uploads() == []
    run.join(a)
    run.play(a)
    run.send(a)
    assert sorted(run.learn()) == [1, PER_WORKER + 1]  # not those with which the conversation broke
    run.end_round()


def test_a_round_ends_without_a_part_that_was_damaged(clock: Clock, runs: list[LockstepRun]) -> None:
    run = LockstepRun(clock, 1, 1, batch=2)
    runs.append(run)
    a, b = run.children
    run.join(a, b)
    run.play(a, b)
    run.damage(a)
    run.send(b)
    run.end_round()  # half a batch
    run.play(a, b)
    run.send(a, b)
    run.learn()
    run.end_round()
    assert run.side._credit.round == 2


def test_a_child_whose_only_part_was_damaged_plays_on(clock: Clock, runs: list[LockstepRun]) -> None:
    run = LockstepRun(clock, 1, batch=1)
    runs.append(run)
    (a,) = run.children
    run.join(a)
    run.play(a)
    run.damage(a)
    run.end_round()
    assert a.notes == ["trajectories were refused: damaged"]
    run.play(a)
    run.send(a)
    assert run.learn() == [1]
    run.end_round()


def test_a_queue_that_has_no_room_for_a_round_is_refused(clock: Clock, runs: list[LockstepRun]) -> None:
    run = LockstepRun(clock, 2, 2, batch=2, queue=6)
    runs.append(run)
    with pytest.raises(
        ConfigError, match=r"exchange\.queue: expected at least 7 .* for a round of all 7 workers, got 6"
    ):
        run.side.assign_rank("c", 2, 3)
    assert isinstance(run.side.failure, ConfigError)
