import os
import signal

import numpy as np
import torch

from marl.data.node.memory import RING_ROWS, array, node_memory, ring
from marl.processes.group import ProcessGroup
from tests.process_targets import writes_rows


def test_each_worker_has_rows_of_its_own_a_cache_line_apart() -> None:
    block = node_memory(num_weights=10, num_parameters=9, observation_size=3, workers=4)
    assert block["weights"].shape == (10,)
    assert block["optimizer"].shape == (2, 9)
    assert block["observations"].shape == (5, 7)  # row 0 is from elsewhere
    assert block["rewards"].shape == (5, 3)
    for name in ("counters", "seconds", "metrics", "metric_names", "ring_count", "ring_rows"):
        assert len(block[name]) == 4
        assert block[name].stride(0) * block[name].element_size() % 64 == 0


def test_numpy_sees_the_same_memory() -> None:
    block = node_memory(num_weights=2, num_parameters=2, observation_size=1, workers=1)
    array(block, "stop")[0] = 1
    assert block["stop"].item() == 1
    block["base_steps"].fill_(2**40)
    assert array(block, "base_steps").tolist() == [2**40]


def test_rows_of_all_workers_arrive_and_a_killed_writer_holds_nothing() -> None:
    block = node_memory(num_weights=2, num_parameters=2, observation_size=1, workers=2)
    readers = [ring(block, worker) for worker in range(2)]
    rows = [np.arange(6.0).reshape(3, 2) + 100 * worker for worker in range(2)]
    with ProcessGroup() as group:
        members = [group.start(f"writer {each}", writes_rows, block, each, rows[each]) for each in range(2)]
        for member in members:
            member.pipe.send("go")
        for member in members:
            assert member.pipe.recv() == "done"
        for reader, expected in zip(readers, rows, strict=True):
            np.testing.assert_array_equal(reader.drain(), expected)
        assert array(block, "counters")[:, 0].tolist() == [1, 2]

        os.kill(members[0].process.pid, signal.SIGKILL)
        members[0].process.join()
        successor = group.start("successor", writes_rows, block, 0, rows[0] + 50)
        for member in (members[1], successor):
            member.pipe.send("go")
            assert member.pipe.recv() == "done"
        np.testing.assert_array_equal(readers[0].drain(), rows[0] + 50)
        np.testing.assert_array_equal(readers[1].drain(), rows[1])
        for member in (members[1], successor):
            member.pipe.send(None)


def test_a_ring_that_overflows_keeps_the_newest() -> None:
    block = node_memory(num_weights=2, num_parameters=2, observation_size=1, workers=1)
    reader, writer = ring(block, 0), ring(block, 0)
    numbers = np.arange(RING_ROWS + 5.0)
    writer.write(np.column_stack([numbers, numbers])[:100])
    writer.write(np.column_stack([numbers, numbers])[100 : RING_ROWS + 5][-RING_ROWS:])
    assert reader.drain()[:, 0].tolist() == numbers[5:].tolist()
    assert block["weights"].equal(torch.zeros(2))
