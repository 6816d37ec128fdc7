import signal

import numpy as np
import pytest
import torch

from marl.data.layout import Leaf
from marl.data.replay.transitions import TransitionReplay, Transitions, transition_fields
from marl.data.shared import SharedBlock
from marl.errors import MessageRefused
from marl.processes.group import ProcessGroup
from tests.data import writers
from tests.data.writers import ACTION, OBSERVATION, numbers_of, transitions

WAIT_S = 60.0  # the most that a process may take on a busy machine
FIELDS = len(Transitions._fields)


def block_of(capacity: int, workers: int) -> SharedBlock:
    return SharedBlock(
        transition_fields(capacity=capacity, workers=workers, observation=OBSERVATION, action=ACTION),
    )


def kept(replay: TransitionReplay, capacity: int) -> dict[int, int]:
    """Number by place, of all that is whole."""
    gathered, whole = replay.gather(np.arange(capacity))
    return dict(zip(np.flatnonzero(whole.numpy()).tolist(), numbers_of(gathered, whole), strict=True))


def test_nothing_is_there_at_first() -> None:
    replay = TransitionReplay(block_of(8, 2))
    assert kept(replay, 8) == {}
    assert len(replay) == 0


def test_each_writes_its_own_ring_and_the_oldest_goes_first() -> None:
    block = block_of(10, 2)
    first, second, reader = TransitionReplay(block, 0), TransitionReplay(block, 1), TransitionReplay(block)
    assert first.add(transitions(range(3))).tolist() == [0, 1, 2]
    assert second.add(transitions(range(100, 102))).tolist() == [5, 6]
    assert kept(reader, 10) == {0: 0, 1: 1, 2: 2, 5: 100, 6: 101}
    assert first.add(transitions(range(3, 7))).tolist() == [3, 4, 0, 1]
    assert kept(reader, 10) == {0: 5, 1: 6, 2: 2, 3: 3, 4: 4, 5: 100, 6: 101}
    assert len(reader) == 7
    assert second.add(transitions(range(102, 107))).tolist() == [7, 8, 9, 5, 6]
    assert second.add(transitions(range(0))).tolist() == []
    assert kept(reader, 10) == {0: 5, 1: 6, 2: 2, 3: 3, 4: 4, 5: 105, 6: 106, 7: 102, 8: 103, 9: 104}


def test_any_order_and_repetition_of_indices() -> None:
    replay = TransitionReplay(block_of(10, 2), 1)
    replay.add(transitions(range(20, 25)))
    gathered, whole = replay.gather(np.array([9, 0, 5, 9]))
    assert whole.tolist() == [True, False, True, True]
    assert numbers_of(gathered, whole) == [24, 20, 24]


def test_who_starts_again_goes_on_in_its_ring() -> None:
    block = block_of(4, 1)
    for number in range(7):
        TransitionReplay(block, 0).add(transitions(range(number, number + 1)))
    assert kept(TransitionReplay(block), 4) == {3: 3, 0: 4, 1: 5, 2: 6}


def test_bytes_stay_bytes_and_vectors_vectors() -> None:
    fields = transition_fields(
        capacity=4, workers=1, observation=Leaf((2, 3, 3), torch.uint8), action=Leaf((2,), torch.float32)
    )
    batch = Transitions(
        torch.randint(0, 256, (3, 2, 3, 3), dtype=torch.uint8),
        torch.randn(3, 2),
        torch.randn(3),
        torch.tensor([0.0, 0.9, 0.99]),
        torch.randint(0, 256, (3, 2, 3, 3), dtype=torch.uint8),
        torch.tensor([1, 2**60 + 1, 3]),
    )
    replay = TransitionReplay(SharedBlock(fields), 0)
    gathered, whole = replay.gather(replay.add(batch))
    assert whole.all()
    for came, expected in zip(gathered, batch, strict=True):
        assert came.dtype is expected.dtype
        assert torch.equal(came, expected)


def test_what_does_not_fit_is_refused() -> None:
    replay = TransitionReplay(block_of(8, 2), 0)
    with pytest.raises(ValueError, match="at most 4 transitions, got 5"):
        replay.add(transitions(range(5)))
    with pytest.raises(MessageRefused, match="expected discounts of"):
        replay.add(transitions(range(2))._replace(discounts=torch.zeros(1)))
    with pytest.raises(MessageRefused, match="float64"):
        replay.add(transitions(range(2))._replace(observations=torch.zeros(2, writers.SIZE, dtype=torch.float64)))
    with pytest.raises(ValueError, match="number of a worker"):
        TransitionReplay(block_of(8, 2)).add(transitions(range(2)))
    with pytest.raises(ValueError, match="3 workers can share equally, got 8"):
        block_of(8, 3)
    assert len(replay) == 0


@pytest.mark.parametrize("field", range(1, FIELDS + 1))
def test_a_writer_is_killed_and_its_successor_goes_on(group: ProcessGroup, field: int) -> None:
    """It dies over places 1 to 4: they stay damaged until somebody has written over each of them."""
    block = block_of(12, 2)
    reader = TransitionReplay(block)
    TransitionReplay(block, 1).add(transitions(range(100, 103)))
    others = {6: 100, 7: 101, 8: 102}
    batches = [range(3), range(3, 7), range(7, 11)]
    armed = f"transitions.writing=kill@{2 * FIELDS + field}"
    writer = group.start("writer", writers.adds_transitions, block, 0, batches, armed)
    writer.process.join(WAIT_S)
    assert writer.process.exitcode == -signal.SIGKILL
    assert kept(reader, 12) == {0: 6, 5: 5, **others}
    successor = group.start("successor", writers.adds_transitions, block, 0, [range(20, 22)], "")
    successor.process.join(WAIT_S)
    assert successor.process.exitcode == 0
    assert kept(reader, 12) == {0: 6, 1: 20, 2: 21, 5: 5, **others}  # 3 and 4 are as the dead left them
    TransitionReplay(block, 0).add(transitions(range(22, 25)))
    assert kept(reader, 12) == {0: 6, 1: 20, 2: 21, 3: 22, 4: 23, 5: 24, **others}


def test_a_writer_comes_by_while_rows_are_gathered() -> None:
    """What it touches meanwhile is marked, though the end of its writing was seen by nobody."""
    block = block_of(6, 1)
    writer, reader = TransitionReplay(block, 0), TransitionReplay(block)
    writer.add(transitions(range(6)))
    fields = reader._rows

    class Interrupted(list):  # between the first field and the second
        def __iter__(self):
            yield fields[0]
            writer.add(transitions(range(6, 8)))
            yield from fields[1:]

    reader._rows = Interrupted()
    gathered, whole = reader.gather(np.arange(6))
    assert whole.tolist() == [False, False, True, True, True, True]
    assert numbers_of(gathered, whole) == [2, 3, 4, 5]


def test_two_write_and_one_gathers(group: ProcessGroup) -> None:
    """However they meet, what counts as whole is."""
    capacity, count = 128, 4000
    block = block_of(capacity, 2)
    reader, rng = TransitionReplay(block), np.random.default_rng(0)
    processes = []
    for worker in range(2):
        first = worker * writers.PER_WORKER
        batches = [range(first + 16 * batch, first + 16 * batch + 16) for batch in range(count)]
        processes.append(
            group.start(f"writer {worker}", writers.adds_transitions, block, worker, batches, "").process,
        )
    num_whole = 0
    while any(process.is_alive() for process in processes) or not num_whole:
        num_whole += len(numbers_of(*reader.gather(rng.integers(0, capacity, 256))))
    assert [process.exitcode for process in processes] == [0, 0]
    last = 16 * count
    expected = {*range(last - 64, last), *range(writers.PER_WORKER + last - 64, writers.PER_WORKER + last)}
    assert set(kept(reader, capacity).values()) == expected
