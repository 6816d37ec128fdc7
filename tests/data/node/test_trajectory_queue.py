"""Two rings of numbers between the parent and its learner, and the weights that the learner publishes."""

import numpy as np
import torch

from marl.data.layout import Leaf
from marl.data.node.trajectory_queue import (
    AGES,
    LearnerQueue,
    Published,
    TrajectoryQueue,
    flow,
    trajectory_queue_fields,
)
from marl.data.shared import SharedBlock
from marl.processes.group import ProcessGroup
from tests.commands import PATIENCE_S
from tests.data.rollouts import layout_of, publishes

WEIGHTS = 50_000


def block_of(length: int) -> SharedBlock:
    stop = {"stop": Leaf((1,), torch.uint8)}
    return SharedBlock({**stop, **trajectory_queue_fields(layout_of(), length, WEIGHTS)})


def test_rollouts_come_in_order_each_once_and_are_free_once_they_are_given_back() -> None:
    block = block_of(3)
    parent, learner, rng = TrajectoryQueue(block), LearnerQueue(block), np.random.default_rng(0)
    queued, taken, in_hand = list[int](), list[int](), list[int]()
    for _ in range(500):
        if parent.num_free() and rng.random() < 0.5:
            number, _ = parent.place()
            parent.queue(number)
            queued.append(number)
        taking = learner.take() if rng.random() < 0.5 else None
        if taking is not None:
            taken.append(taking)
            in_hand.append(taking)
        if in_hand and rng.random() < 0.5:
            learner.give_back(in_hand.pop(int(rng.integers(len(in_hand)))))
        waiting = len(queued) - len(taken)
        assert parent.num_free() == 3 - waiting - len(in_hand)
        assert parent.total() == len(queued)
    assert taken == queued[: len(taken)]
    assert len(taken) > 100


def test_what_is_dropped_and_what_is_used_is_counted() -> None:
    block = block_of(3)
    parent, learner = TrajectoryQueue(block), LearnerQueue(block)
    for _ in range(3):
        parent.queue(parent.place()[0])
    first = learner.take()
    assert first is not None
    learner.drop(first)
    assert parent.num_free() == 1
    for age in (2, 2, AGES + 7):
        learner.count(age)
    known = flow(block)
    assert (known.used, known.stale) == (3, 1)
    assert (known.ages[2], known.ages[AGES - 1]) == (2, 1)


def test_a_discarded_rollout_is_free_again() -> None:
    trajectory_queue = TrajectoryQueue(block_of(1))
    number, _ = trajectory_queue.place()
    assert trajectory_queue.num_free() == 0
    trajectory_queue.discard(number)
    assert trajectory_queue.num_free() == 1


def test_published_weights_are_never_torn(group: ProcessGroup) -> None:
    block = block_of(1)
    published, place = Published(block), torch.zeros(WEIGHTS)
    group.start("learner", publishes, block)
    last, changes = 0, 0
    while changes < 200:
        version = published.read(place)
        assert version >= last
        assert bool((place == version).all()), "torn"
        changes += version > last
        last = version
    block["stop"].fill_(1)
    assert published.read(place) <= (group.receive("learner", PATIENCE_S) or 0)
    assert published.read(place) == published.version()


def test_a_killed_learner_leaves_the_weights_of_before() -> None:
    block = block_of(1)
    published, place = Published(block), torch.zeros(WEIGHTS)
    published.publish(torch.ones(WEIGHTS), 1)
    published.publish(torch.full((WEIGHTS,), 2.0), 2)
    block["published_numbers"][0] += 1  # begun, and half written
    block["published"][1, ::2] = 99.0
    assert published.read(place) == 2
    assert bool((place == 2.0).all())
    Published(block).publish(torch.full((WEIGHTS,), 3.0), 3)
    assert published.read(place) == 3
    assert bool((place == 3.0).all())
