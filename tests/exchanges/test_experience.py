"""The experience exchange: each trajectory counts once, memory is bounded, a slow learner holds actors back, nonsense
is refused alone.
"""

import threading
from collections import defaultdict

import numpy as np
import pytest
import torch

from marl.data.normalizer import as_slot, moments
from marl.errors import MessageRefused
from marl.exchanges import experience_parent
from marl.exchanges.conversation import converse, report
from marl.exchanges.experience_child import PER_MESSAGE
from marl.exchanges.rounds import BAR_AFTER, BAR_ROUNDS
from marl.links.memory import memory_pair
from marl.training.outbox import PARCELS
from marl.wire.header import MAX_INT, decode_header
from marl.wire.message import Kind, Message
from marl.wire.payload import Outgoing
from tests.commands import PATIENCE_S
from tests.data.parcels import layout_of
from tests.exchanges import actors
from tests.exchanges.actors import PER_WORKER, WEIGHTS, Actors, Learning, exchange, steps_of
from tests.exchanges.nodes import Clock, carried

MIB = 1024 * 1024


def pair(clock: Clock, **settings: int | bool) -> tuple[Learning, Actors]:
    """A learner and a child that is in."""
    learning = Learning(clock, **settings)  # type: ignore[arg-type]
    child = Actors("a", clock, normalizes=bool(settings.get("normalizes")), packs=bool(settings.get("unpacks")))
    learning.join(child)
    return learning, child


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
    assert learning.side.received == 5
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
    assert learning.side.received == 3


def test_one_that_cannot_be_unpacked_spoils_only_itself(clock: Clock) -> None:
    learning, child = pair(clock, unpacks=True)
    child.play(count=3)
    (upload,) = child.uploads()
    spoiled = torch.as_tensor(upload.arrays["packed1"]).clone()
    spoiled[4:].fill_(0)
    learning.receive(upload._replace(arrays={**upload.arrays, "packed1": spoiled}))
    assert [learning.learn()[0] for _ in range(2)] == [0, 2]
    assert learning.side.refused == 1
    assert "packed bytes" in str(learning.notes)


@pytest.mark.parametrize("length", [0, layout_of().num_bytes])
def test_packed_bytes_have_a_length_between_none_and_the_whole(length: int, clock: Clock) -> None:
    learning, child = pair(clock, unpacks=True)
    child.play()
    (upload,) = child.uploads()
    with pytest.raises(MessageRefused, match=r"trajectory0|packed0"):
        learning.receive(upload._replace(arrays={"packed0": torch.zeros(length, dtype=torch.uint8)}))


def test_who_did_not_agree_to_it_takes_nothing_packed(clock: Clock) -> None:
    learning = Learning(clock)
    child = Actors("a", clock, packs=True)
    learning.join(child)
    child.play()
    (upload,) = child.uploads()
    with pytest.raises(MessageRefused, match=r"trajectory0|packed0"):
        learning.receive(upload)


def test_credit_is_never_exceeded_and_a_learner_that_stops_holds_actors_back(clock: Clock) -> None:
    learning = Learning(clock, queue=3, children=3)
    children = [Actors(name, clock, rank=rank) for rank, name in enumerate("abc")]
    learning.join(*children)
    for _ in range(50):
        for each in children:
            clock.now += 0.001
            for worker in range(2):
                if each._outboxes[worker]._counts[0] - each._outboxes[worker]._counts[1] < PARCELS:
                    each.play(worker)
        exchange(learning, *children)
        promised = sum(member.credit for member in learning.side.members.values())
        assert promised + learning.waiting() <= 3
        assert sum(each.credit for each in children) <= promised
    assert learning.waiting() == 3
    assert all(not each.uploads() for each in children)
    for each in children:  # every ring is full: workers wait
        assert (each.block["outbox_counts"][:, 0] - each.block["outbox_counts"][:, 1] == PARCELS).all()
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


def test_more_than_the_credit_is_refused_and_takes_no_place(clock: Clock) -> None:
    learning, child = pair(clock, queue=2)
    child.play(count=3)
    (upload,) = child.uploads()
    assert len(upload.arrays) == 2
    third = upload._replace(arrays={**upload.arrays, "trajectory2": upload.arrays["trajectory0"]})
    with pytest.raises(MessageRefused, match="at most 2"):
        learning.receive(third)
    answer = learning.side.spoiled("a", "expected at most 2 trajectories, got 3")
    assert answer is not None
    assert "at most 2" in str(answer.message.info["refused"])
    assert learning.inbox.num_free() == 2
    assert learning.side.members["a"].credit == 2


def test_places_are_kept_for_credit_until_the_child_leaves(clock: Clock) -> None:
    learning, child = pair(clock, queue=4)
    child.play(count=2)
    (upload,) = child.uploads()
    header = decode_header(Outgoing(upload).header, max_bytes=MAX_INT)
    learning.side.place("a", header)  # an upload is under way, and breaks off
    assert learning.inbox.num_free() == 2
    learning.side.leave("a")
    assert learning.inbox.num_free() == 4
    again = Actors("a", clock)
    learning.join(again)
    assert again.credit == 4


@pytest.mark.parametrize("name", ["trajectory0", "trajectory1", "observations"])
def test_a_trajectory_of_another_shape_is_refused_and_frees_its_places(clock: Clock, name: str) -> None:
    learning, child = pair(clock)
    child.play(count=2)
    (upload,) = child.uploads()
    wrong = upload._replace(arrays={**upload.arrays, name: torch.zeros(17, dtype=torch.uint8)})
    with pytest.raises(MessageRefused, match="expected"):
        learning.receive(wrong)
    child.take(learning.side.spoiled("a", "expected another"))
    assert learning.inbox.num_free() == 8
    assert child.notes == ["trajectories were refused: expected another"]
    child.play()
    exchange(learning, child)
    assert learning.waiting() == 1


def test_a_bad_trajectory_is_refused_alone_and_its_child_is_told(clock: Clock) -> None:
    learning, child = pair(clock)
    child.play(count=3)
    (upload,) = child.uploads()
    layout_of().open(upload.arrays["trajectory1"])["rewards"][0, 0] = float("nan")  # type: ignore[arg-type]
    child.heard(learning.receive(upload))
    assert [learning.learn(), learning.learn()] == [[0], [2]]
    assert learning.waiting() == 0
    assert (learning.side.received, learning.side.refused) == (2, 1)
    assert learning.side.steps == steps_of(0) + steps_of(2)
    assert learning.notes == ["an upload of a is refused: a trajectory has a number that is not finite"]
    assert child.notes == ["trajectories were refused: a trajectory has a number that is not finite"]


def spoil(upload: Message) -> Message:
    for each in upload.arrays.values():
        layout_of().open(each)["header"][0] = -1  # type: ignore[arg-type]
    return upload


def test_a_child_that_is_refused_again_and_again_is_left_out_for_a_while(clock: Clock) -> None:
    """However much it sends; and what it does wrong is said, but not each time."""
    learning, child = pair(clock)
    for _ in range(BAR_AFTER):
        child.play()
        for upload in child.uploads():
            child.heard(learning.receive(spoil(upload)))
    assert "left out for 10 seconds" in learning.notes[-1]
    for _ in range(3 * BAR_ROUNDS):
        child.play()
        exchange(learning, child)
    assert learning.side.received == 0
    assert "left out" in child.notes[-1]
    clock.now += BAR_ROUNDS
    child.play()
    exchange(learning, child)
    assert learning.side.received == 1
    assert len(learning.notes) == 2
    assert learning.inbox.num_free() == 7


def test_refusals_count_only_in_a_row(clock: Clock) -> None:
    learning, child = pair(clock)
    for _ in range(2 * BAR_AFTER):
        child.play()
        for upload in child.uploads():
            child.heard(learning.receive(spoil(upload)))
        child.play()
        exchange(learning, child)
        learning.learn()
    learning.rest()
    assert learning.side.received == 2 * BAR_AFTER
    assert not any("left out" in note for note in learning.notes)


def test_an_upload_that_came_twice_counts_once(clock: Clock) -> None:
    learning, child = pair(clock)
    child.play(count=2)
    (upload,) = child.uploads()
    child.heard(learning.receive(upload))
    child.heard(learning.receive(upload))
    assert learning.side.received == 2
    assert learning.side.refused == 2
    assert [learning.learn(), learning.learn()] == [[0], [1]]
    assert learning.waiting() == 0
    assert any("came before" in note for note in learning.notes)
    learning.rest()
    assert learning.inbox.num_free() == 8


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
    assert learning.side.received == 3


def test_what_was_under_way_when_a_conversation_broke_is_lost_and_never_sent_twice(clock: Clock) -> None:
    learning, child = pair(clock)
    child.play(count=3)
    sending = iter(child.side.outgoing())
    upload = next(message for message in sending if message.kind is Kind.UPLOAD)
    assert len(upload.arrays) == 3
    sending.close()  # type: ignore[attr-defined]  # the link broke while it was sent
    learning.side.leave("a")
    child.side.joined()
    assert child.side.lost == 3
    child.play(count=2)
    assert child.uploads() == []  # no credit of the conversation before
    learning.join(child)
    exchange(learning, child)
    assert [learning.learn(), learning.learn()] == [[3], [4]]
    assert learning.waiting() == 0


def test_weights_go_down_only_when_they_are_newer(clock: Clock) -> None:
    learning, child = pair(clock, queue=2)
    child.play(count=2)
    (upload,) = child.uploads()
    assert learning.receive(upload) is None  # no room, no new weights: nothing to say
    learning.rest()
    learning.learn()
    learning.publish(0)  # as if nothing had been learned
    learning.rest()
    answer = learning.side.late("a")
    assert answer is not None
    assert not answer.message.arrays
    assert answer.message.info["credit"] == 3
    child.take(answer)
    learning.publish(5)
    child.play()
    exchange(learning, child)
    assert child.side.version == 5
    assert torch.equal(child.block["weights"], torch.full((WEIGHTS,), 5.0))
    answer = learning.side.answer("a", Message(Kind.FULL, "a"))
    assert answer is not None
    assert set(answer.message.arrays) == {"weights"}


def test_small_weights_are_fresh_after_each_upload(clock: Clock) -> None:
    """However much credit is left: they are no larger than what came up."""
    learning, child = pair(clock, queue=16)
    for version in range(1, 5):
        learning.publish(version)
        child.play()
        exchange(learning, child)
        assert child.side.version == version


def test_an_answer_that_was_spoiled_costs_no_credit(clock: Clock) -> None:
    learning = Learning(clock, queue=4)
    child = Actors("a", clock)
    assert learning.side.join("a").message.info["credit"] == 4
    child.side.spoiled("the hash differs")
    assert child.credit == 0
    (ask,) = child.asks()
    child.take(learning.side.answer("a", carried(ask, lambda header: learning.side.place("a", header))))
    assert child.side.started.is_set()
    assert child.credit == 4
    assert child.asks() == []


def test_a_killed_learner_gives_its_places_back(clock: Clock) -> None:
    learning, child = pair(clock, queue=4, batch=2)
    child.play(count=4)
    exchange(learning, child)
    assert learning.learn() == [0, 1]
    assert learning.inbox.restart() == 2  # it died over them
    learning.begin()
    child.take(learning.side.late("a"))
    assert child.credit == 3  # of four, and one more that lay in hand
    child.play(count=2)
    exchange(learning, child)
    assert learning.learn() == [2, 3]
    assert learning.learn() == [4, 5]


def test_staleness_never_exceeds_its_limit(clock: Clock) -> None:
    learning, child = pair(clock, max_staleness=2)
    for version in (0, 7, 8, 9, 10):
        learning.publish(10)
        child.play(version=version)
        exchange(learning, child)
    assert [learning.learn()[0] for _ in range(3)] == [2, 3, 4]  # and version 10 became 13 meanwhile
    known = learning.flow()
    assert known.stale == 2
    assert known.age_of(1) <= 2


def test_the_normaliser_counts_every_observation_once(clock: Clock) -> None:
    learning = Learning(clock, children=2, normalizes=True)
    children = [Actors(name, clock, rank=rank, normalizes=True) for rank, name in enumerate("ab")]
    learning.join(*children)
    random, seen = np.random.default_rng(0), list[list[float]]()
    for _ in range(30):
        for each in children:
            new = random.normal(3.0, 2.0, (4, 2)).tolist()
            seen += new
            each.see(new, worker=int(random.integers(2)))
            each.play()
        exchange(learning, *children)
        while learning.waiting():
            learning.learn()
        learning.rest()
    slot = learning.side.current.slot
    assert slot is not None
    assert slot[0] == len(seen) == 240
    np.testing.assert_allclose(slot.numpy(), as_slot(moments(np.array(seen))), rtol=1e-9)
    learning.side.leave("a")  # a broken conversation neither loses nor repeats what was told
    children[0].side.joined()
    learning.join(children[0])
    children[0].play()
    exchange(learning, children[0])
    slot = learning.side.current.slot
    assert slot is not None
    assert slot[0] == 240
    assert torch.equal(children[0].block["observations"][0], slot)


@pytest.mark.parametrize("bad", [[1e300, 1e200, 0.0], [float("nan"), 0.0, 0.0], [-5.0, 0.0, 0.0], [5.0, 0.0, -1.0]])
def test_no_child_can_spoil_the_normaliser(clock: Clock, bad: list[float]) -> None:
    learning, child = pair(clock, normalizes=True)
    child.play()
    (upload,) = child.uploads()
    moved = torch.tensor([bad[0], bad[1], 0.0, bad[2], 0.0], dtype=torch.float64)
    child.heard(learning.receive(upload._replace(arrays={**upload.arrays, "moments": moved})))
    slot = learning.side.current.slot
    assert slot is not None
    assert not slot.any()
    assert learning.side.received == 1  # the trajectory itself is sound
    assert any("refused" in note for note in child.notes)


def test_a_full_outbox_of_many_workers_is_no_absurd_claim(clock: Clock) -> None:
    learning, child = pair(clock, normalizes=True)
    child.see([[1.0, 2.0]] * (2 * (PARCELS + 1) * 10_000))
    child.play()
    exchange(learning, child)
    slot = learning.side.current.slot
    assert slot is not None
    assert slot[0] == 2 * (PARCELS + 1) * 10_000


def test_a_damaged_report_is_answered_by_nothing(clock: Clock) -> None:
    learning, child = pair(clock)
    clock.now += 1
    (telemetry,) = child.side.outgoing()
    carried(telemetry, lambda header: learning.side.place("a", header))
    assert learning.side.spoiled("a", "the hash differs") is None


def test_what_is_no_upload_is_noted_and_no_more(clock: Clock) -> None:
    learning, child = pair(clock)
    assert learning.side.answer("a", Message(Kind.CALL, "a")) is None
    child.side.accept(Message(Kind.CALL, "parent"))
    assert "not expected here" in learning.notes[0]
    assert "not expected here" in child.notes[0]


def test_a_parent_that_closes_gives_no_more_credit(clock: Clock) -> None:
    learning, child = pair(clock, queue=2)
    child.play(count=2)
    learning.side.close()
    (upload,) = child.uploads()
    assert learning.receive(upload) is None
    assert learning.side.late("a") is None
    assert learning.waiting() == 2


def test_large_weights_wait_until_the_child_has_used_its_credit(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be in the middle of the next upload, and receives nothing until that has been taken."""
    monkeypatch.setattr(experience_parent, "LARGE_BYTES", 0)
    learning, child = pair(clock, queue=4)
    learning.publish(5)
    for left in (3, 2, 1):
        child.play()
        exchange(learning, child)
        assert (child.credit, child.side.version) == (left, 0)
        learning.learn()
    child.play()
    exchange(learning, child)
    assert child.credit > 0
    assert child.side.version == int(learning.block["version"][0])


def test_who_asks_for_weights_gets_them_however_large(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experience_parent, "LARGE_BYTES", 0)
    learning, child = pair(clock)
    child.side.spoiled("it was damaged")
    (asks,) = child.asks()
    learning.publish(5)
    child.take(learning.side.answer("a", asks))
    assert child.side.version == 5


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
    assert learning.side.received == children * workers * each_plays
    assert learning.side.refused == 0
    assert learning.notes == [note for node in nodes for note in node.notes] == []


def test_a_message_is_bounded(clock: Clock) -> None:
    learning = Learning(clock, queue=100)
    child = Actors("a", clock, workers=8)
    learning.join(child)
    for worker in range(8):
        child.play(worker, PARCELS)
    uploads = child.uploads()
    assert [len(each.arrays) for each in uploads] == [PER_MESSAGE] * 2  # as much as there is credit for
    more = {f"trajectory{number}": uploads[0].arrays["trajectory0"] for number in range(PER_MESSAGE + 1)}
    with pytest.raises(MessageRefused, match=f"at most {PER_MESSAGE} trajectories"):
        learning.receive(uploads[0]._replace(arrays=more))
