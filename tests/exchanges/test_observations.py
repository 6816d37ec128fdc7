"""The observations exchange, by hand and over a link in memory: each desk gets the actions for its own question."""

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from marl.acting.decide import Question
from marl.data.desk import ANSWERED, ASKED, BEGUN
from marl.data.normalizer import from_slot
from marl.errors import LinkClosed, MessageRefused
from marl.exchanges.conversation import confer, converse, report
from marl.exchanges.observations_child import LONGEST_PAUSE, PER_MESSAGE, SHORTEST_PAUSE
from marl.exchanges.telemetry import EVERY
from marl.links.memory import memory_pair
from marl.networks.distributions import Categorical
from marl.wire.message import Kind, Message
from tests.exchanges.nodes import Clock, carried
from tests.exchanges.observers import (
    ENVIRONMENTS,
    LENGTH,
    NUM_ACTIONS,
    SIZE,
    Child,
    Parent,
    Sure,
    everyone_asks,
    layout,
)

PATIENCE_S = 20.0
EVERYBODY = [(worker, group) for worker in range(2) for group in range(2)]


class Blind(nn.Module):
    """The same parameters whatever it sees; remembers what it saw."""

    distribution = Categorical(NUM_ACTIONS)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def policy(self, observations: Tensor) -> Tensor:
        self.seen.append(observations.clone())
        return torch.zeros(len(observations), NUM_ACTIONS)


def joined(**options: Any) -> tuple[Parent, Child]:
    parent, child = Parent(**options), Child()
    parent.join(child)
    return parent, child


def turn(parent: Parent, child: Child) -> None:
    """Everything that is asked is answered."""
    for upload in child.uploads():
        child.take(parent.answer(upload))


def play(parent: Parent, child: Child, seen: float, worker: int = 0, group: int = 0) -> None:
    child.ask(worker, group, seen)
    turn(parent, child)


# Who gets which actions


def test_nobody_asks_before_a_parent_is_there() -> None:
    child = Child()
    everyone_asks(child, 0.0, first=True)
    assert child.uploads() == []
    Parent().join(child)
    assert child.side.started.is_set()
    assert len(child.uploads()) == 1


def test_every_desk_gets_its_own_actions() -> None:
    parent, child = joined()
    for number, (worker, group) in enumerate(EVERYBODY):
        child.ask(worker, group, float(number), first=True)
    (upload,) = child.uploads()
    assert [child.answered(*place) for place in EVERYBODY] == [None] * 4
    child.take(parent.answer(upload))
    assert [child.answered(*place) for place in EVERYBODY] == [[number] * ENVIRONMENTS for number in range(4)]
    assert isinstance(parent.network, Sure)
    assert len(parent.network.calls) == 1  # one pass
    assert child.uploads() == []


def test_several_messages_are_under_way_and_answers_say_which_they_answer() -> None:
    parent, child = joined()
    uploads = []
    for number, (worker, group) in enumerate(EVERYBODY):
        child.ask(worker, group, float(number), first=True)
        uploads += child.uploads()
    assert [each.counter for each in uploads] == [1, 2, 3, 4]
    answers = [parent.answer(upload) for upload in uploads]
    for place, answer in zip(reversed(EVERYBODY), reversed(answers), strict=True):  # even out of order
        child.take(answer)
        assert child.answered(*place) == [EVERYBODY.index(place)] * ENVIRONMENTS


def test_more_desks_than_fit_in_a_message_travel_in_several() -> None:
    parent, child = Parent(), Child(workers=PER_MESSAGE)
    parent.join(child)
    everyone_asks(child, 1.0, first=True)
    uploads = child.uploads()
    assert [len(each.arrays["desks"]) for each in uploads] == [PER_MESSAGE, PER_MESSAGE]
    for upload in uploads:
        child.take(parent.answer(upload))
    assert all(child.answered(worker, group) for worker in range(PER_MESSAGE) for group in range(2))


def test_an_answer_to_a_worker_that_was_replaced_is_for_nobody() -> None:
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True)
    (old,) = child.uploads()
    child.ask(0, 0, 2.0, first=True)  # its successor
    child.take(parent.answer(old))
    assert child.answered(0, 0) is None
    turn(parent, child)
    assert child.answered(0, 0) == [2] * ENVIRONMENTS


def test_a_desk_that_is_being_written_to_does_not_travel() -> None:
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True)
    child.ask(0, 1, 2.0, first=True)
    child.counts[0, 0, BEGUN] += 1  # the successor of a killed worker is at it
    (upload,) = child.uploads()
    assert len(upload.arrays["desks"]) == 1
    child.take(parent.answer(upload))
    assert (child.answered(0, 0), child.answered(0, 1)) == (None, [2] * ENVIRONMENTS)
    child.counts[0, 0, ASKED] += 1
    turn(parent, child)
    assert child.answered(0, 0) == [1] * ENVIRONMENTS


def test_what_has_been_sent_may_be_written_to() -> None:
    """A link may still be reading when a worker has its actions from elsewhere, or has been replaced."""
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True)
    (upload,) = [each for each in child.side.outgoing() if each.kind is Kind.UPLOAD]
    child.desks[0]["observations"][:] = 3.0
    child.take(parent.answer(upload))
    assert child.answered(0, 0) == [1] * ENVIRONMENTS


# Trajectories


def test_trajectories_reach_the_queue_with_what_acted() -> None:
    parent, child = joined()
    parent.version = 5
    child.ask(0, 0, 0.0, first=True)
    turn(parent, child)
    for step in range(1, 2 * LENGTH + 1):
        parent.version += 1
        play(parent, child, float(step))
    first, second = parent.queued()
    assert first.observations[:, 0, 0].tolist() == [0, 1, 2, 3]
    assert second.observations[:, 0, 0].tolist() == [3, 4, 5, 6]
    assert second.actions[:, 0].tolist() == [3, 0, 1]  # what is seen names what is done
    assert second.behaviour.argmax(-1)[:, 0].tolist() == [3, 0, 1]
    assert second.rewards[:, 0].tolist() == [4, 5, 6]
    assert (first.version, second.version) == (5, 8)  # the oldest weights that acted
    assert parent.side.steps == 2 * LENGTH * ENVIRONMENTS
    assert parent.side.received == 2
    assert child.side.version == 11


def test_what_is_kept_in_mind_stays_here_and_is_never_mixed() -> None:
    parent, child = joined()
    assert isinstance(parent.network, Sure)
    everyone_asks(child, 0.0, first=True)
    turn(parent, child)
    for worker, group, times in ((0, 0, 2), (1, 1, 3)):
        for _ in range(times):
            play(parent, child, 1.0, worker, group)
    streams = parent.side._seats[child.name].streams
    assert {place: each.states().flatten().tolist() for place, each in streams.items()} == {
        (0, 0): [3, 3], (0, 1): [1, 1], (1, 0): [1, 1], (1, 1): [4, 4],
    }  # fmt: skip
    child.ask(1, 1, 1.0, ends=np.array([[1, 0], [0, 0], [1, 1]], np.uint8))
    turn(parent, child)
    assert streams[1, 1].states().flatten().tolist() == [1, 5]  # an end, and one decision since
    child.ask(0, 0, 1.0, first=True)
    turn(parent, child)
    assert streams[0, 0].states().flatten().tolist() == [1, 1]


def test_two_children_share_a_pass_but_no_stream() -> None:
    parent = Parent()
    children = [Child("one", workers=1), Child("two", workers=1)]
    for child in children:
        parent.join(child)
    assert parent.side.num_live() == 2
    for number, child in enumerate(children):
        child.ask(0, 0, float(number), first=True)
    answers: dict[str, Any] = {}
    uploads = {child.name: child.uploads()[0] for child in children}
    parent.batcher._wait_s = PATIENCE_S  # only because both ask does it end
    threads = [
        threading.Thread(target=lambda name=name: answers.update({name: parent.answer(uploads[name])}))
        for name in uploads
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    for number, child in enumerate(children):
        child.take(answers[child.name])
        assert child.answered(0, 0) == [number] * ENVIRONMENTS
    assert parent.batcher.passes == 1
    assert set(parent.side._seats) == {"one", "two"}


# What breaks


def test_who_explores_how_follows_from_the_place_among_all() -> None:
    parent, child = Parent(), Child(workers=3)
    parent.side.seat(child.name, 1, 3)
    parent.join(child)
    for worker in (2, 0):
        child.ask(worker, 0, 0.5, first=True)
    for upload in child.uploads():
        child.take(parent.answer(upload))
    assert sorted(parent.placed) == [(1, 0, 3), (1, 2, 3)]


def test_a_worker_that_the_child_has_not_got_is_refused() -> None:
    """Each would cost the parent memory."""
    parent, child = Parent(), Child(workers=3)
    parent.side.seat(child.name, 0, 2)
    parent.join(child)
    child.ask(2, 0, 0.5, first=True)
    (upload,) = child.uploads()
    with pytest.raises(LinkClosed, match="expected one of 2 workers, got number 2"):
        parent.answer(upload)


def test_another_conversation_asks_again_and_begins_anew() -> None:
    parent, child = joined()
    child.ask(0, 0, 0.0, first=True)
    turn(parent, child)
    play(parent, child, 1.0)
    child.ask(0, 0, 2.0)
    (lost,) = child.uploads()
    parent.answer(lost)  # it arrived, but its answer does not
    steps = parent.side.steps
    parent.side.leave(child.name)
    assert parent.side.num_live() == 0
    assert child.name not in parent.side._seats  # its streams are dropped
    child.side.left()
    child.side.joined()
    parent.join(child)
    (again,) = child.uploads()
    child.take(parent.answer(again))
    assert child.answered(0, 0) == [2] * ENVIRONMENTS
    assert parent.side.steps == steps  # counted once
    for step in range(3, 3 + LENGTH):
        play(parent, child, float(step))
    (trajectory,) = parent.queued()
    assert trajectory.observations[:, 0, 0].tolist() == [2, 3, 4, 5]  # nothing of before


def test_a_late_answer_of_an_older_conversation_is_not_taken() -> None:
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True)
    (lost,) = child.uploads()
    answer = parent.answer(lost)
    child.side.joined()
    with pytest.raises(MessageRefused, match="nothing was asked"):
        child.take(answer)
    assert child.answered(0, 0) is None


def test_damaged_actions_are_asked_for_again() -> None:
    parent, child = joined()
    for number, (worker, group) in enumerate(EVERYBODY[:2]):
        child.ask(worker, group, float(number), first=True)
        if number == 0:
            (damaged,) = child.uploads()
    (whole,) = child.uploads()
    first, second = parent.answer(damaged), parent.answer(whole)
    assert first is not None
    carried(first.message, child.side.place)
    child.side.spoiled("the hash differs")
    child.take(second)  # which is not mistaken for the first
    assert (child.answered(0, 0), child.answered(0, 1)) == (None, [1] * ENVIRONMENTS)
    turn(parent, child)
    assert child.answered(0, 0) == [0] * ENVIRONMENTS
    assert child.notes == ["actions cannot be used: the hash differs"]


def test_other_messages_that_are_damaged_cost_no_question() -> None:
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True)
    (upload,) = child.uploads()
    with pytest.raises(MessageRefused):
        carried(Message(Kind.CALL, "parent", arrays={"more": torch.zeros(3)}), child.side.place)
    child.side.spoiled("expected no arrays")
    assert child.uploads() == []
    child.take(parent.answer(upload))
    assert child.answered(0, 0) == [1] * ENVIRONMENTS


def put(child: Child, name: str, value: Any) -> Message:
    (upload,) = child.uploads()
    memory = upload.arrays["desks"]
    assert isinstance(memory, Tensor)
    layout().open(memory.numpy())[name][0] = value
    return upload


HEADERS = [
    [-1, 0, 1, 1, 0, 0, 0, 0],
    [0, 2, 1, 1, 0, 0, 0, 0],
    [0, 0, -1, 1, 0, 0, 0, 0],
    [0, 0, 1, 1, ENVIRONMENTS + 1, 0, 0, 0],
    [0, 0, 1, 1, -1, 0, 0, 0],
    [2**40, 0, 1, 1, 0, 0, 0, 0],
    [0, 1, 1, 1, 0, 0, 0, 0],  # the place of the other desk in the message
]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("header", header) for header in HEADERS),
        ("ends", 2),
        ("observations", np.nan),
        ("rewards", np.inf),
    ],
    ids=str,
)
def test_nonsense_ends_the_conversation_but_not_the_run(name: str, value: Any) -> None:
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True)
    child.ask(0, 1, 1.0, first=True)
    with pytest.raises(LinkClosed, match="observations of child cannot be used"):
        parent.answer(put(child, name, value))
    assert parent.side.refused == 1
    assert parent.side._seats[child.name].streams == {}
    parent.side.leave(child.name)
    child.side.joined()
    parent.join(child)  # it may try again
    turn(parent, child)
    assert child.answered(0, 0) == [1] * ENVIRONMENTS


@pytest.mark.parametrize(("index", "last"), [(-1, 0.0), (ENVIRONMENTS, 0.0), (0, np.nan)])
def test_nonsense_about_cut_episodes_is_refused(index: int, last: float) -> None:
    parent, child = joined()
    child.ask(0, 0, 1.0, first=True, last_index=index, last_observations=last)
    with pytest.raises(LinkClosed, match="cannot be used"):
        parent.answer(put(child, "header", [0, 0, 1, 1, 1, 0, 0, 0]))


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"desks": torch.zeros(0, 8, dtype=torch.uint8)},
        {"desks": torch.zeros(1, 8, dtype=torch.uint8)},
        {"desks": torch.zeros(PER_MESSAGE + 1, 8, dtype=torch.uint8)},
        {"trajectory0": torch.zeros(4)},
    ],
    ids=str,
)
def test_uploads_of_another_shape_get_no_memory(arrays: dict[str, Tensor]) -> None:
    parent, child = joined()
    with pytest.raises(MessageRefused):
        carried(Message(Kind.UPLOAD, child.name, arrays=arrays), lambda header: parent.side.place(child.name, header))
    with pytest.raises(LinkClosed):  # it would wait for ever for what it asked
        parent.side.spoiled(child.name, "expected 1 to 64 desks")


def test_a_report_that_is_damaged_costs_only_itself() -> None:
    parent, child = joined()
    with pytest.raises(MessageRefused):
        carried(
            Message(Kind.TELEMETRY, child.name, arrays={"steps": torch.zeros(3)}),
            lambda header: parent.side.place(child.name, header),
        )
    assert parent.side.spoiled(child.name, "expected steps") is None


def test_a_network_that_breaks_tells_whoever_asked() -> None:
    class Broken(Blind):
        def policy(self, observations: Tensor) -> Tensor:
            raise ValueError("the network broke")

    parent, child = joined(network=Broken())
    child.ask(0, 0, 0.0, first=True)
    (upload,) = child.uploads()
    for _ in range(2):  # and is asked again
        with pytest.raises(ValueError, match="the network broke"):
            parent.answer(upload)


# A learner that falls behind


def test_a_full_queue_holds_answers_back_and_nothing_piles_up() -> None:
    parent, child = joined(queue=1, length=1)
    child.ask(0, 0, 0.0, first=True)
    turn(parent, child)
    play(parent, child, 1.0)
    assert len(parent.queued()) == 1
    child.ask(0, 0, 2.0)
    (upload,) = child.uploads()
    answers: list[Any] = []
    held = threading.Thread(target=lambda: answers.append(parent.answer(upload)), daemon=True)
    held.start()
    held.join(0.05)
    assert held.is_alive()
    assert child.uploads() == []  # nor does the child ask on
    parent.learn()
    held.join(PATIENCE_S)
    child.take(answers[0])
    assert child.answered(0, 0) == [2] * ENVIRONMENTS
    assert [each.rewards[0, 0].item() for each in parent.queued()] == [2]


def test_closing_lets_go_of_whoever_waits_for_room() -> None:
    parent, child = joined(queue=1, length=1)
    child.ask(0, 0, 0.0, first=True)
    turn(parent, child)
    play(parent, child, 1.0)
    child.ask(0, 0, 2.0)
    (upload,) = child.uploads()
    answers: list[Any] = []
    held = threading.Thread(target=lambda: answers.append(parent.answer(upload)), daemon=True)
    held.start()
    parent.side.close()
    held.join(PATIENCE_S)
    assert answers == [None]
    assert len(parent.queued()) == 1


# The normaliser


def test_observations_are_normalised_by_what_was_seen() -> None:
    network = Blind()
    parent, child = joined(network=network, normalizes=True)
    generator = np.random.default_rng(1)
    child.ask(0, 0, 0.0, first=True)
    turn(parent, child)
    assert torch.equal(network.seen[0], torch.tensor([[0.0, 0.0, 0.0]] * ENVIRONMENTS))  # as it came: nothing is known
    everything = []
    for _ in range(200):
        seen = generator.normal([3.0, -5.0, 0.1], [2.0, 0.5, 10.0], (ENVIRONMENTS, SIZE)).astype(np.float32)
        everything.append(seen)
        child.ask(0, 0, 0.0, observations=seen)
        turn(parent, child)
        parent.learn(len(parent.queued()))
    slot = parent.side.current.slot
    assert slot is not None
    found, true = from_slot(slot.numpy()), np.concatenate(everything).astype(np.float64)
    assert found.count == len(true) == parent.side.steps
    np.testing.assert_allclose(found.mean, true.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.std(), true.std(0), rtol=1e-6)
    expected = (true[-ENVIRONMENTS:] - true.mean(0)) / true.std(0)
    np.testing.assert_allclose(network.seen[-1], expected, atol=0.1)  # statistics are used a percent later


def test_the_learner_gets_what_the_network_saw() -> None:
    network = Blind()
    parent, child = joined(network=network, normalizes=True)
    child.ask(0, 0, 0.0, first=True)
    turn(parent, child)
    for step in range(1, 2 * LENGTH + 1):
        play(parent, child, float(step) ** 2)
    first, second = parent.queued()
    for trajectory, start in ((first, 0), (second, LENGTH)):
        assert torch.equal(trajectory.observations, torch.stack(network.seen[start : start + LENGTH + 1]))


def test_a_question_that_is_asked_again_is_observed_once() -> None:
    parent, child = joined(network=Blind(), normalizes=True)
    child.ask(0, 0, 0.0, first=True)
    turn(parent, child)
    child.ask(0, 0, 1.0)
    (upload,) = child.uploads()
    for _ in range(3):
        parent.answer(upload)
    slot = parent.side.current.slot
    assert slot is not None
    assert slot[0] == parent.side.steps == ENVIRONMENTS


# When somebody looks


def test_the_longer_nothing_comes_the_seldomer_it_looks() -> None:
    clock = Clock()
    parent, child = Parent(), Child(clock=clock)
    parent.join(child)
    child.ask(0, 0, 0.0, first=True)
    child.uploads()
    assert child.side.pause() == SHORTEST_PAUSE
    clock.now += 0.01
    assert child.side.pause() == pytest.approx(0.001)
    clock.now += 10
    assert child.side.pause() == LONGEST_PAUSE
    child.ask(0, 1, 0.0, first=True)
    child.uploads()
    assert child.side.pause() == SHORTEST_PAUSE


def test_it_reports_as_often_as_it_is_told() -> None:
    clock = Clock()
    parent, child = Parent(), Child(clock=clock)
    parent.join(child)
    clock.now += 2 * EVERY
    assert [each.kind for each in child.side.outgoing()] == [Kind.TELEMETRY]
    assert [each.kind for each in child.side.outgoing()] == []


# Both loops, and the one that needs no link


class Players(threading.Thread):
    """Steps all desks of a child, as workers would, until told to stop."""

    def __init__(self, child: Child, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self._child, self._over = child, over
        self.steps = 0
        self.wrong: list[Any] = []

    def run(self) -> None:
        self._child.side.started.wait(PATIENCE_S)
        seen = dict.fromkeys(EVERYBODY, 0)
        for place in EVERYBODY:
            self._child.ask(*place, 0.0, first=True)
        while not self._over.is_set():
            for place in EVERYBODY:
                counts = self._child.counts[place]
                if counts[ANSWERED] != counts[ASKED]:
                    continue
                actions = self._child.answered(*place)
                if actions != [seen[place] % NUM_ACTIONS] * ENVIRONMENTS:
                    self.wrong.append((place, seen[place], actions))
                seen[place] += 1
                self.steps += 1
                self._child.ask(*place, float(seen[place]))
            self._over.wait(0.0002)


@pytest.mark.parametrize("by_link", [True, False], ids=["over a link", "in one thread"])
def test_thousands_of_steps_each_with_the_right_actions(by_link: bool) -> None:
    parent, child, over = Parent(queue=4), Child(), threading.Event()
    players = Players(child, over)
    if by_link:
        above, below = memory_pair()
        threads = [
            threading.Thread(target=converse, args=(above, child.name, parent.side, over), kwargs={"name": "parent"}),
            threading.Thread(target=report, args=(below, child.side, over), kwargs={"name": child.name}),
        ]
    else:
        threads = [threading.Thread(target=confer, args=(child.side, parent.side, over), kwargs={"name": child.name})]
    for thread in (*threads, players):
        thread.start()
    learned = []
    while players.steps < 600 and threads[0].is_alive():
        for trajectory in parent.queued():
            learned.append(trajectory.observations[:, 0, 0].tolist())
            parent.learn()
        over.wait(0.001)
    over.set()
    parent.side.close()
    for thread in (*threads, players):
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in (*threads, players))
    assert players.wrong == []
    assert len(learned) > 100
    assert all(each == [each[0] + step for step in range(LENGTH + 1)] for each in learned)
    assert parent.side.num_live() == 0


def test_a_request_is_a_whole_message() -> None:
    """So that what travels together is decided together."""
    parent, child = joined()
    sizes: list[int] = []
    serve = parent.batcher._serve

    def watched(requests: list[Question]) -> Any:
        sizes.extend(len(each.observations) for each in requests)
        return serve(requests)

    parent.batcher._serve = watched
    everyone_asks(child, 0.0, first=True)
    turn(parent, child)
    assert sizes == [4 * ENVIRONMENTS]
