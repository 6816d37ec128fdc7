"""Trajectories from workers to their contact: in order, each once, and a killed worker leaves nothing half."""

import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from marl.data.layout import Leaf
from marl.data.node import bell
from marl.data.node.send_queue import RING_LENGTH, Posted, Sender, SendQueue, send_queue_fields
from marl.data.replay.rollout import unpack
from marl.data.shared import SharedBlock
from marl.processes.group import ProcessGroup
from tests.commands import PATIENCE_S, until
from tests.data.rollouts import layout_of, priorities_of, puts
from tests.data.writers import number_of, trajectory


def block_of(workers: int) -> SharedBlock:
    return SharedBlock({"stop": Leaf((1,), torch.uint8), **send_queue_fields(layout_of(), workers)})


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    with ProcessGroup() as group:
        yield group


def numbers(rollouts: list[Posted]) -> list[int]:
    """Which trajectories those are; fails unless each is whole."""
    found = []
    for rollout in rollouts:
        came, priorities = unpack(layout_of().open(rollout.memory))
        found.append(number_of(came))
        assert torch.equal(priorities, priorities_of(found[-1]))
    return found


def put(send_queue: SendQueue, number: int) -> None:
    send_queue.put(trajectory(number), priorities_of(number))


def test_the_oldest_of_each_worker_first_and_all_workers_in_turn() -> None:
    block = block_of(3)
    send_queues = [SendQueue(block, worker, layout_of()) for worker in range(3)]
    for worker, count in enumerate((3, 1, 2)):
        for number in range(count):
            put(send_queues[worker], 10 * worker + number)
    sender = Sender(block)
    rollouts = sender.waiting(100)
    assert numbers(rollouts) == [0, 10, 20, 1, 21, 2]
    assert numbers(sender.waiting(100)) == [10, 20, 0, 21, 1, 2]  # still there, and another's turn
    first = sender.waiting(4)
    assert numbers(first) == [20, 0, 10, 21]
    sender.taken(first)
    assert sorted(numbers(sender.waiting(100))) == [1, 2]


def test_any_pattern_of_puts_and_looks_loses_and_repeats_nothing() -> None:
    block = block_of(2)
    send_queues = [SendQueue(block, worker, layout_of()) for worker in range(2)]
    sender, rng = Sender(block), np.random.default_rng(0)
    sent: list[list[int]] = [[], []]
    came: list[list[int]] = [[], []]
    for _ in range(300):
        worker = int(rng.integers(2))
        if len(sent[worker]) - len(came[worker]) < RING_LENGTH:
            put(send_queues[worker], len(sent[worker]))
            sent[worker].append(len(sent[worker]))
        rollouts = sender.waiting(int(rng.integers(0, 3)))
        for rollout, number in zip(rollouts, numbers(rollouts), strict=True):
            came[rollout.worker].append(number)
        sender.taken(rollouts)
    rest = sender.waiting(100)
    for rollout, number in zip(rest, numbers(rest), strict=True):
        came[rollout.worker].append(number)
    assert came == sent


def test_a_worker_waits_while_its_ring_is_full(group: ProcessGroup) -> None:
    block = block_of(1)
    group.start("worker", puts, block, 0, range(3 * RING_LENGTH), "")
    counts = block["send_queue_counts"][0]
    sender, found = Sender(block), list[int]()
    until(lambda: int(counts[0]) == RING_LENGTH)
    while len(found) < 3 * RING_LENGTH:
        assert int(counts[0] - counts[1]) <= RING_LENGTH
        rollouts = sender.waiting(1)
        found += numbers(rollouts)
        sender.taken(rollouts)
    assert found == list(range(3 * RING_LENGTH))
    assert group.receive("worker", PATIENCE_S) == "done"


@pytest.mark.skipif(sys.platform != "linux", reason="others look again and again")
def test_what_is_taken_wakes_the_worker_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "_LONGEST", bell._Timespec(60, 0))  # it does not look by itself
    block = block_of(2)
    send_queue, sender, asked = SendQueue(block, 1, layout_of()), Sender(block), threading.Event()
    for number in range(RING_LENGTH):
        put(send_queue, number)
    has_room = send_queue._has_room
    monkeypatch.setattr(send_queue, "_has_room", lambda: asked.set() or has_room())
    waiting = threading.Thread(target=put, args=(send_queue, RING_LENGTH), daemon=True)
    waiting.start()
    assert asked.wait(PATIENCE_S)
    sender.taken(sender.waiting(1))
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
    assert numbers(sender.waiting(100)) == list(range(1, RING_LENGTH + 1))


def test_who_waits_for_room_ends_when_told_to() -> None:
    block = block_of(1)
    send_queue = SendQueue(block, 0, layout_of())
    for number in range(RING_LENGTH):
        put(send_queue, number)
    waiting = threading.Thread(target=put, args=(send_queue, 99), daemon=True)
    waiting.start()
    assert waiting.is_alive()
    block["stop"].fill_(1)
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
    assert numbers(Sender(block).waiting(100)) == list(range(RING_LENGTH))


def test_a_killed_worker_leaves_nothing_half(group: ProcessGroup) -> None:
    """It dies with a rollout filled and not counted; its successor fills the same one."""
    block = block_of(2)
    group.start("worker", puts, block, 1, range(RING_LENGTH), "send_queue.writing=kill@3")
    until(lambda: group.check())
    assert numbers(Sender(block).waiting(100)) == [0, 1]
    group.start("worker", puts, block, 1, range(50, 50 + RING_LENGTH - 2), "")
    assert group.receive("worker", PATIENCE_S) == "done"
    assert numbers(Sender(block).waiting(100)) == [0, 1, *range(50, 50 + RING_LENGTH - 2)]
