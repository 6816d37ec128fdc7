import numpy as np

from marl.data.ring import Ring


def rows(*firsts: float) -> np.ndarray:
    return np.array([[first, -first] for first in firsts])


def memory(capacity: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((capacity, 2)), np.zeros(1, np.int64)


def test_any_pattern_of_writes_and_drains_loses_nothing() -> None:
    rng = np.random.default_rng(0)
    shared = memory(10)
    writer, reader = Ring(*shared), Ring(*shared)
    written, read = [], []
    for _ in range(200):
        batch = [float(len(written) + each) for each in range(rng.integers(0, 6))]
        writer.write(rows(*batch) if batch else np.zeros((0, 2)))
        written += batch
        if rng.random() < 0.6 or len(written) - len(read) > 5:
            read += reader.drain()[:, 0].tolist()
    read += reader.drain()[:, 0].tolist()
    assert read == written


def test_a_slow_reader_loses_the_oldest() -> None:
    shared = memory(4)
    writer, reader = Ring(*shared), Ring(*shared)
    for start in range(0, 9, 3):
        writer.write(rows(start, start + 1, start + 2))
    assert reader.drain()[:, 0].tolist() == [5, 6, 7, 8]
    assert len(reader.drain()) == 0


def test_what_was_drained_stays_when_the_ring_turns() -> None:
    shared = memory(3)
    writer, reader = Ring(*shared), Ring(*shared)
    writer.write(rows(1, 2))
    drained = reader.drain()
    writer.write(rows(7, 8, 9))
    assert drained[:, 0].tolist() == [1, 2]


def test_a_killed_writer_leaves_nothing_half() -> None:
    """It dies between filling rows and moving the count: the reader sees none, its successor goes on in that place."""
    numbers, count = memory(4)
    reader, writer = Ring(numbers, count), Ring(numbers, count)
    writer.write(rows(1))
    numbers[1] = 99.0  # filled, count not moved
    assert reader.drain()[:, 0].tolist() == [1]
    Ring(numbers, count).write(rows(2))
    assert reader.drain().tolist() == [[2, -2]]


def test_a_reader_starts_at_the_present() -> None:
    shared = memory(4)
    Ring(*shared).write(rows(1, 2))
    assert len(Ring(*shared).drain()) == 0
