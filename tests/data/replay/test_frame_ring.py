"""Stacks of frames in a replay of transitions: stored once, found again, and never half overwritten."""

import signal
from multiprocessing.connection import Connection

import numpy as np
import pytest
import torch

from marl.data.layout import Leaf
from marl.data.replay.frame_ring import FRAMES
from marl.data.replay.transitions import TransitionReplay, Transitions, transition_fields
from marl.data.shared import SharedBlock, memory_bytes
from marl.processes.group import ProcessGroup
from tests.data import writers

DEPTH, FRAME, WAIT_S = 3, 8, 60.0
STACK = Leaf((DEPTH * FRAME,), torch.uint8, frames=DEPTH)


def block_of(capacity: int, workers: int = 1, observation: object = STACK) -> SharedBlock:
    return SharedBlock(fields_of(capacity, workers, observation))


def fields_of(capacity: int, workers: int, observation: object = STACK) -> dict:
    return transition_fields(
        capacity=capacity,
        workers=workers,
        observation=observation,  # type: ignore[arg-type]
        action=Leaf((), torch.int64),
    )


def stack(number: int) -> torch.Tensor:
    """Of frames number, number + 1, ...; each shows its number."""
    frames = torch.arange(number, number + DEPTH)
    digits = torch.stack([frames % 251, frames // 251 % 251], 1).repeat(1, FRAME // 2)
    return digits.to(torch.uint8).flatten()


def transitions(numbers: range) -> Transitions:
    """Each sees the stack of its number, then the next one."""
    column = torch.tensor(list(numbers))
    seen, following = (torch.stack([stack(each + step) for each in numbers]) for step in (0, 1))
    return Transitions(seen, column, column.float(), column.float(), following, column)


def numbers_of(gathered: Transitions, whole: torch.Tensor) -> list[int]:
    numbers = gathered.versions[whole].tolist()
    for row, number in zip(np.flatnonzero(whole.numpy()), numbers, strict=True):
        assert torch.equal(gathered.observations[row], stack(number)), "torn"
        assert torch.equal(gathered.next_observations[row], stack(number + 1)), "torn"
    return numbers


def adds(pipe: Connection, block: SharedBlock, worker: int, batches: list[range], armed: str) -> None:
    writers._arm(armed)
    replay = TransitionReplay(block, worker)
    for numbers in batches:
        replay.add(transitions(numbers))


def test_every_row_is_whole_however_often_the_ring_comes_round() -> None:
    capacity = 40
    replay = TransitionReplay(block_of(capacity), 0)
    for start in range(0, 1000, 8):
        places = replay.add(transitions(range(start, start + 8)))
        assert numbers_of(*replay.gather(places)) == list(range(start, start + 8))
        gathered, whole = replay.gather(np.arange(capacity))
        assert len(numbers_of(gathered, whole)) == min(start + 8, capacity)


def test_a_frame_is_stored_once() -> None:
    block = block_of(400)
    TransitionReplay(block, 0).add(transitions(range(1, 101)))
    assert int(np.count_nonzero(block.tree(FRAMES)[0].numpy().any(axis=1))) == 100 + DEPTH


def test_a_transition_costs_little_more_than_a_frame() -> None:
    atari = Leaf((4 * 84 * 84,), torch.uint8, frames=4)
    assert memory_bytes(fields_of(10_000, 2, atari)) <= 1.3 * 10_000 * 84 * 84
    assert memory_bytes(fields_of(10_000, 2, atari._replace(frames=0))) >= 8 * 10_000 * 84 * 84


def test_rows_whose_frames_are_overwritten_do_not_count() -> None:
    """Frames that no other stack has need more room than there is: the oldest rows are lost before their time."""
    capacity = 200
    replay = TransitionReplay(block_of(capacity), 0)
    for start in range(0, 2000, 100):
        replay.add(transitions(range(start * DEPTH * 2, (start + 100) * DEPTH * 2, DEPTH * 2)))
    gathered, whole = replay.gather(np.arange(capacity))
    assert 0 < len(numbers_of(gathered, whole)) < capacity


def test_beside_what_is_no_stack() -> None:
    replay = TransitionReplay(block_of(8, 1, {"felt": Leaf((), torch.float32), "seen": STACK}), 0)
    plain = transitions(range(4))
    felt = torch.arange(4.0)
    replay.add(
        plain._replace(
            observations={"felt": felt, "seen": plain.observations},
            next_observations={"felt": felt + 1, "seen": plain.next_observations},
        )
    )
    gathered, whole = replay.gather(np.arange(4))
    assert whole.all()
    assert torch.equal(gathered.observations["felt"], felt)
    assert torch.equal(gathered.next_observations["seen"], plain.next_observations)


@pytest.mark.parametrize("armed", ["frames.writing=kill@3", "transitions.writing=kill@14"])
def test_a_writer_is_killed_and_its_successor_goes_on(group: ProcessGroup, armed: str) -> None:
    block = block_of(24, 2)
    reader = TransitionReplay(block)
    batches = [range(start, start + 6) for start in range(0, 60, 6)]
    writer = group.start("writer", adds, block, 0, batches, armed)
    writer.process.join(WAIT_S)
    assert writer.process.exitcode == -signal.SIGKILL
    before = set(numbers_of(*reader.gather(np.arange(12))))
    assert before <= set(range(12))
    successor = group.start("successor", adds, block, 0, [range(100, 106), range(106, 112)], "")
    successor.process.join(WAIT_S)
    assert successor.process.exitcode == 0
    assert set(numbers_of(*reader.gather(np.arange(12)))) == set(range(100, 112))


def test_two_write_and_one_gathers(group: ProcessGroup) -> None:
    """However they meet, what counts as whole is."""
    capacity, count = 64, 300
    block = block_of(capacity, 2)
    reader, rng = TransitionReplay(block), np.random.default_rng(0)
    processes = []
    for worker in range(2):
        first = worker * 20_000
        batches = [range(first + 16 * batch, first + 16 * batch + 16) for batch in range(count)]
        processes.append(group.start(f"writer {worker}", adds, block, worker, batches, "").process)
    num_whole = 0
    while any(process.is_alive() for process in processes) or not num_whole:
        num_whole += len(numbers_of(*reader.gather(rng.integers(0, capacity, 128))))
    assert [process.exitcode for process in processes] == [0, 0]
    last = 16 * count
    expected = {*range(last - 32, last), *range(20_000 + last - 32, 20_000 + last)}
    assert set(numbers_of(*reader.gather(np.arange(capacity)))) == expected
