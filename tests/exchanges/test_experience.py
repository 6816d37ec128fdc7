"""The experience exchange: each trajectory counts once, memory is bounded, a slow learner holds actors back."""

import threading
from collections import defaultdict

import pytest
import torch

from marl.data.node.send_queue import RING_LENGTH
from marl.exchanges.conversation import converse, report
from marl.links.memory import memory_pair
from marl.wire.header import MAX_INT, decode_header
from marl.wire.message import Kind
from marl.wire.payload import Outgoing
from tests.commands import PATIENCE_S
from tests.data.rollouts import layout_of
from tests.exchanges import actors
from tests.exchanges.actors import PER_WORKER, WEIGHTS, Actors, Learning, exchange, pair, steps_of
from tests.exchanges.nodes import Clock

MIB = 1024 * 1024


def test_a_child_begins_with_the_newest_weights_and_credit(clock: Clock) -> None:
    learning = Learning(clock, queue=4)
    learning.publish(7)
    child = Actors("a", clock)
    assert not child.side.started.is_set()
    assert child.uploads() == []
    learning.join(child)
    assert child.side.started.is_set()
    assert child.side.version == 7
    assert int(child.block["version"][0]) == 7
    assert torch.equal(child.block["weights"], torch.full((WEIGHTS,), 7.0))
    assert child.credit == 4


def test_trajectories_arrive_whole_once_and_in_order(clock: Clock) -> None:
    learning, child = pair(clock)
    child.play(worker=0, count=3)
    child.play(worker=1, count=2)
    exchange(learning, child)
    came = [learning.learn()[0] for _ in range(5)]
    assert sorted(came) == [0, 1, 2, PER_WORKER, PER_WORKER + 1]
    assert [number for number in came if number < PER_WORKER] == [0, 1, 2]
    assert learning.queued() == 5
    assert learning.side.steps == sum(map(steps_of, came))
    assert child.uploads() == []


def test_packed_trajectories_arrive_whole_and_are_fewer_bytes(clock: Clock) -> None:
    learning, child = pair(clock, unpacks=True)
    child.play(count=3)
    (upload,) = child.uploads()
    assert list(upload.arrays) == ["packed0", "packed1", "packed2"]
    assert sum(map(len, upload.arrays.values())) < 3 * layout_of().num_bytes
    learning.receive(upload)
    assert [learning.learn()[0] for _ in range(3)] == [0, 1, 2]
    assert learning.queued() == 3


def test_credit_is_never_exceeded_and_a_learner_that_stops_holds_actors_back(clock: Clock) -> None:
    learning = Learning(clock, queue=3, children=3)
    children = [Actors(name, clock, rank=rank) for rank, name in enumerate("abc")]
    learning.join(*children)
    for _ in range(50):
        for each in children:
            clock.now += 0.001
            for worker in range(2):
                if each._send_queues[worker]._counts[0] - each._send_queues[worker]._counts[1] < RING_LENGTH:
                    each.play(worker)
        exchange(learning, *children)
        promised = sum(member.credit for member in learning.side.members.values())
        assert promised + learning.waiting() <= 3
        assert sum(each.credit for each in children) <= promised
    assert learning.waiting() == 3
    assert all(not each.uploads() for each in children)
    for each in children:  # every ring is full: workers wait
        assert (each.block["send_queue_counts"][:, 0] - each.block["send_queue_counts"][:, 1] == RING_LENGTH).all()
    learning.learn()
    learning.rest()
    exchange(learning, *children)
    assert sum(each.credit for each in children) == 1
    exchange(learning, *children)
    assert learning.waiting() == 3


def test_every_child_gets_its_share_of_the_queue(clock: Clock) -> None:
    """One that stands still keeps its own share, and nobody else's."""
    learning = Learning(clock, queue=8, children=4)
    still, *others = (Actors(name, clock, rank=rank) for rank, name in enumerate("abcd"))
    learning.join(still, *others)
    assert [each.credit for each in (still, *others)] == [2] * 4
    for _ in range(40):
        for each in others:
            clock.now += 0.001
            if each.credit:
                each.play()
            exchange(learning, each)
        if learning.waiting():
            learning.learn()
            learning.rest()
    assert min(sum(each.played) for each in others) > 10
    assert still.credit == 2


def test_more_children_than_the_queue_is_long_take_turns(clock: Clock) -> None:
    learning = Learning(clock, queue=2, children=5)
    children = [Actors(str(rank), clock, rank=rank) for rank in range(5)]
    learning.join(*children)
    for _ in range(40):
        for each in children:
            clock.now += 0.001
            if each.credit:
                each.play()
            exchange(learning, each)
        if learning.waiting():
            learning.learn()
            learning.rest()
    assert max(sum(each.played) for each in children) - min(sum(each.played) for each in children) <= 2


def test_places_are_kept_for_credit_until_the_child_leaves(clock: Clock) -> None:
    learning, child = pair(clock, queue=4)
    child.play(count=2)
    (upload,) = child.uploads()
    header = decode_header(Outgoing(upload).header, max_bytes=MAX_INT)
    learning.side.receive_buffers("a", header)  # an upload is under way, and breaks off
    assert learning.trajectory_queue.num_free() == 2
    learning.side.leave("a")
    assert learning.trajectory_queue.num_free() == 4
    again = Actors("a", clock)
    learning.join(again)
    assert again.credit == 4


def test_a_child_that_started_anew_counts_from_one_again(clock: Clock) -> None:
    learning, child = pair(clock)
    child.play(count=2)
    exchange(learning, child)
    learning.side.leave("a")
    learning.side.forget("a")
    again = Actors("a", clock, rank=1)
    learning.join(again)
    again.play()
    exchange(learning, again)
    assert learning.queued() == 3


def test_what_was_under_way_when_a_conversation_broke_is_lost_and_never_sent_twice(clock: Clock) -> None:
    learning, child = pair(clock)
    child.play(count=3)
    sending = iter(child.side.outgoing())
    upload = next(message for message in sending if message.kind is Kind.UPLOAD)
    assert len(upload.arrays) == 3
    sending.close()  # type: ignore[attr-defined]  # the link broke while it was sent
    learning.side.leave("a")
    child.side.joined()
    child.play(count=2)
    assert child.uploads() == []  # no credit of the conversation before
    learning.join(child)
    exchange(learning, child)
    assert [learning.learn(), learning.learn()] == [[3], [4]]
    assert learning.waiting() == 0


def test_a_killed_learner_gives_its_places_back(clock: Clock) -> None:
    learning, child = pair(clock, queue=4, batch=2)
    child.play(count=4)
    exchange(learning, child)
    assert learning.learn() == [0, 1]
    assert learning.trajectory_queue.restart() == 2  # it died over them
    learning.begin()
    child.take(learning.side.late("a"))
    assert child.credit == 3  # of four, and one more that lay in hand
    child.play(count=2)
    exchange(learning, child)
    assert learning.learn() == [2, 3]
    assert learning.learn() == [4, 5]


def test_a_parent_that_closes_gives_no_more_credit(clock: Clock) -> None:
    learning, child = pair(clock, queue=2)
    child.play(count=2)
    learning.side.close()
    (upload,) = child.uploads()
    assert learning.receive(upload) is None
    assert learning.side.late("a") is None
    assert learning.waiting() == 2


@pytest.mark.parametrize(
    ("children", "workers", "queue", "batch", "weights", "capacity"),
    [
        (1, 2, 1, 1, WEIGHTS, MIB),
        (3, 2, 4, 2, WEIGHTS, MIB),
        (5, 2, 3, 3, WEIGHTS, MIB),
        (1, 8, 32, 1, 2**17, 4096),  # neither uploads nor weights fit into what lies between
    ],
)
def test_over_a_link_every_trajectory_arrives_once_and_in_order(
    clock: Clock,
    children: int,
    workers: int,
    queue: int,
    batch: int,
    weights: int,
    capacity: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Real conversations in threads, workers that play as fast as they may, a learner that takes what comes."""
    monkeypatch.setattr(actors, "WEIGHTS", weights)
    each_plays = 30
    learning = Learning(clock, queue=queue, batch=batch, children=children, max_staleness=10**6)
    nodes = [Actors(str(rank), clock, rank=rank, workers=workers) for rank in range(children)]
    over, threads = threading.Event(), list[threading.Thread]()

    def start(target: object, *args: object, **kwargs: object) -> None:
        threads.append(threading.Thread(target=target, args=args, kwargs=kwargs, daemon=True))  # type: ignore[arg-type]
        threads[-1].start()

    for node in nodes:
        above, below = memory_pair(capacity=capacity, patience=PATIENCE_S)
        start(converse, above, node.name, learning.side, over, name="parent")
        start(report, below, node.side, threading.Event(), name=node.name)
        for worker in range(workers):
            start(node.play, worker, each_plays)
    came, most = defaultdict[int, list[int]](list), 0
    for _ in range(children * workers * each_plays // batch):
        most = max(most, learning.waiting())
        for number in learning.learn():
            came[number // PER_WORKER].append(number % PER_WORKER)
    over.set()
    learning.side.close()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert {place: numbers == list(range(each_plays)) for place, numbers in came.items()} == {
        10 * rank + worker: True for rank in range(children) for worker in range(workers)
    }
    assert most <= max(queue, children) + batch - 1
    assert learning.queued() == children * workers * each_plays
    assert learning.side.refused == 0
    assert learning.notes == [note for node in nodes for note in node.notes] == []
