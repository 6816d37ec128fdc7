"""The observations exchange: trajectories of what was decided, statistics, back-pressure, thousands of steps."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

from marl.data.normalizer import from_row
from marl.data.requests import ANSWERED, ASKED
from marl.exchanges.conversation import confer, converse, report
from marl.links.memory import memory_pair
from tests.exchanges.observers import (
    ENVIRONMENTS,
    EVERYBODY,
    LENGTH,
    NUM_ACTIONS,
    PATIENCE_S,
    SIZE,
    Blind,
    Child,
    Parent,
    Sure,
    everyone_asks,
    joined,
    play,
    turn,
)


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
    assert child.side.version == 11


def test_what_is_kept_in_mind_stays_here_and_is_never_mixed() -> None:
    parent, child = joined()
    assert isinstance(parent.network, Sure)
    everyone_asks(child, 0.0, first=True)
    turn(parent, child)
    for worker, group, times in ((0, 0, 2), (1, 1, 3)):
        for _ in range(times):
            play(parent, child, 1.0, worker, group)
    streams = parent.side._workspaces[child.name].streams
    assert {place: each.state().flatten().tolist() for place, each in streams.items()} == {
        (0, 0): [3, 3], (0, 1): [1, 1], (1, 0): [1, 1], (1, 1): [4, 4],
    }  # fmt: skip
    child.ask(1, 1, 1.0, ends=np.array([[1, 0], [0, 0], [1, 1]], np.uint8))
    turn(parent, child)
    assert streams[1, 1].state().flatten().tolist() == [1, 5]  # an end, and one decision since
    child.ask(0, 0, 1.0, first=True)
    turn(parent, child)
    assert streams[0, 0].state().flatten().tolist() == [1, 1]


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
    assert isinstance(parent.network, Sure)
    assert [len(observations) for observations, _ in parent.network.calls] == [2 * ENVIRONMENTS]
    assert set(parent.side._workspaces) == {"one", "two"}


def test_who_explores_how_follows_from_the_place_among_all() -> None:
    parent, child = Parent(), Child(workers=3)
    parent.side.assign_rank(child.name, 1, 3)
    parent.join(child)
    for worker in (2, 0):
        child.ask(worker, 0, 0.5, first=True)
    for upload in child.uploads():
        child.take(parent.answer(upload))
    assert sorted(parent.placed) == [(1, 0, 3), (1, 2, 3)]


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
    statistics = parent.side.current.statistics
    assert statistics is not None
    found, true = from_row(statistics.numpy()), np.concatenate(everything).astype(np.float64)
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
    statistics = parent.side.current.statistics
    assert statistics is not None
    assert statistics[0] == parent.side.steps == ENVIRONMENTS


class Players(threading.Thread):
    """Steps all requests of a child, as workers would, until told to stop."""

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
