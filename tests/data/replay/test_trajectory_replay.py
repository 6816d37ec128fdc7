import io
import signal
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch

from marl.data.layout import Leaf
from marl.data.replay.rollout import rollout_tree
from marl.data.replay.trajectory_replay import SEQUENCE, TrajectoryReplay, replay_fields
from marl.data.shared import SharedBlock, memory_bytes
from marl.data.trajectory import LAST, STEPS, Trajectory
from marl.errors import MessageRefused
from marl.processes.group import ProcessGroup
from tests.data import writers
from tests.data.writers import ENVIRONMENTS, LENGTH, SIZE, number_of, replay_block, trajectory

NUM_TENSORS = len(STEPS) + len(LAST)  # of a trajectory
WAIT_S = 60.0  # the most that a process may take on a busy machine


def all_of(replay: TrajectoryReplay, draws: int = 300) -> set[int]:
    """The numbers that can be sampled."""
    rng = np.random.default_rng(0)
    samples = (replay.sample(rng) for _ in range(draws))  # looked at one by one: each overwrites the one before
    return {number_of(sample) for sample in samples if sample is not None}


def test_nothing_to_sample() -> None:
    replay = TrajectoryReplay(replay_block(workers=2, slots=3))
    assert replay.sample(np.random.default_rng(0)) is None
    assert len(replay) == 0


def test_what_is_written_comes_back_and_the_oldest_goes_first() -> None:
    block = replay_block(workers=2, slots=3)
    first, second = TrajectoryReplay(block, 0), TrajectoryReplay(block, 1)
    reader = TrajectoryReplay(block)
    for number in range(5):
        first.write(trajectory(number))
        assert all_of(reader) == set(range(max(0, number - 2), number + 1))
    second.write(trajectory(100))
    assert all_of(reader) == {2, 3, 4, 100}
    assert len(reader) == 4


def test_who_starts_again_goes_on_in_its_ring() -> None:
    block = replay_block(workers=1, slots=3)
    for number in range(10):
        TrajectoryReplay(block, 0).write(trajectory(number))
    assert all_of(TrajectoryReplay(block)) == {7, 8, 9}


def test_every_trajectory_has_the_same_chance() -> None:
    """Whatever ring it lies in, and however full that is."""
    block = replay_block(workers=3, slots=6)
    for worker, filled in enumerate((6, 1, 5)):
        replay = TrajectoryReplay(block, worker)
        for number in range(filled):
            replay.write(trajectory(writers.PER_WORKER * worker + number))
    reader, rng = TrajectoryReplay(block), np.random.default_rng(1)
    counts: dict[int, int] = {}
    for _ in range(3000):
        sample = reader.sample(rng)
        assert sample is not None
        counts[sample.version] = counts.get(sample.version, 0) + 1
    assert len(counts) == 12
    assert sum((count - 250) ** 2 / 250 for count in counts.values()) < 31.3  # chi square, 11 degrees, 0.1 %


def test_the_next_sample_overwrites_the_last() -> None:
    block = replay_block(workers=1, slots=1)
    replay, rng = TrajectoryReplay(block, 0), np.random.default_rng(0)
    replay.write(trajectory(1))
    sample = replay.sample(rng)
    replay.write(trajectory(2))
    assert sample is not None
    assert number_of(sample) == 1
    replay.sample(rng)
    assert float(sample.rewards[0, 0]) == float(trajectory(2).rewards[0, 0])


def test_bytes_stay_bytes_and_vectors_vectors() -> None:
    rollout = rollout_tree(
        length=LENGTH,
        environments=ENVIRONMENTS,
        observation=Leaf((4, 6, 6), torch.uint8),
        action=Leaf((2,), torch.float32),
        num_parameters=4,
        priorities=False,
    )
    fields = replay_fields(rollout, workers=1, slots=2)
    written = trajectory(3)._replace(
        observations=torch.randint(0, 256, (LENGTH + 1, ENVIRONMENTS, 4, 6, 6), dtype=torch.uint8),
        actions=torch.randn(LENGTH, ENVIRONMENTS, 2),
        last_observations=torch.randint(0, 256, (3, 4, 6, 6), dtype=torch.uint8),
        behaviour=torch.randn(LENGTH, ENVIRONMENTS, 4),
    )
    block = SharedBlock(fields)
    assert 2 * sum(getattr(written, name).nbytes for name in (*STEPS, *LAST)) <= memory_bytes(fields)
    replay = TrajectoryReplay(block, 0)
    replay.write(written)
    sample = replay.sample(np.random.default_rng(0))
    assert sample is not None
    for came, expected in ((getattr(each, name) for each in (sample, written)) for name in (*STEPS, *LAST)):
        assert came.dtype is expected.dtype
        assert torch.equal(came, expected)


def test_without_a_true_last_observation_what_led_there_is_invalid() -> None:
    """Cuts are kept in order as far as they fit; the rest make their part of the episode invalid, and no other."""
    false = torch.zeros(LENGTH, ENVIRONMENTS, dtype=torch.bool)
    truncated, terminated = false.clone(), false.clone()
    truncated[0] = True  # three: as many as fit
    truncated[3, 0] = True  # of an episode that began at 1
    terminated[1, 2] = True
    truncated[4, 2] = True  # of an episode that began at 2
    last_index = torch.tensor([0, 1, 2, 3 * ENVIRONMENTS, 4 * ENVIRONMENTS + 2])
    replay = TrajectoryReplay(replay_block(workers=1, slots=1), 0)
    written = trajectory(0)._replace(
        terminated=terminated,
        truncated=truncated,
        valid=~false,
        last_index=last_index,
        last_observations=last_index[:, None].expand(-1, SIZE).float(),
    )
    replay.write(written)
    sample = replay.sample(np.random.default_rng(0))
    assert sample is not None
    assert sample.last_index.tolist() == [0, 1, 2]
    assert sample.last_observations[:, 0].tolist() == [0, 1, 2]
    assert sample.valid.T.int().tolist() == [[1, 0, 0, 0, 1], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert torch.equal(sample.truncated, truncated)
    assert written.valid.all()  # the writer's own is as it was


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rewards": torch.zeros(1, ENVIRONMENTS)}, "expected rewards of"),
        ({"rewards": torch.zeros(LENGTH, ENVIRONMENTS, dtype=torch.float64)}, "float64"),
        ({"last_observations": torch.zeros(2, 1)}, "expected last_observations"),
    ],
)
def test_other_shapes_and_types_are_refused(change: dict[str, torch.Tensor], complaint: str) -> None:
    replay = TrajectoryReplay(replay_block(workers=1, slots=1), 0)
    with pytest.raises(MessageRefused, match=complaint):
        replay.write(trajectory(2)._replace(**change))
    assert len(replay) == 0


def test_a_reader_has_no_ring() -> None:
    with pytest.raises(ValueError, match="number of a worker"):
        TrajectoryReplay(replay_block(workers=1, slots=1)).write(trajectory(0))


def test_a_slot_that_changes_meanwhile_is_passed_over() -> None:
    """Its writer comes by between the first look at the numbers and the last."""
    block = replay_block(workers=1, slots=2)
    replay = TrajectoryReplay(block, 0)
    replay.write(trajectory(0))
    replay.write(trajectory(1))

    class Interrupting(np.random.Generator):
        def permutation(self, filled: np.ndarray) -> np.ndarray:
            replay.write(trajectory(2))  # over number 0
            return filled

    sample = TrajectoryReplay(block).sample(Interrupting(np.random.PCG64(0)))
    assert sample is not None
    assert number_of(sample) == 1


def test_pickling_hands_over_the_memory() -> None:
    block = replay_block(workers=1, slots=1)
    buffer = io.BytesIO()
    ForkingPickler(buffer).dump(block)
    TrajectoryReplay(ForkingPickler.loads(buffer.getvalue()), 0).write(trajectory(5))
    assert all_of(TrajectoryReplay(block)) == {5}


@pytest.mark.parametrize("field", range(1, NUM_TENSORS + 1))
def test_a_writer_is_killed_and_its_successor_goes_on(group: ProcessGroup, field: int) -> None:
    """Number 5 is half written over number 2: neither is ever sampled, and the next one takes their place."""
    block = replay_block(workers=2, slots=3)
    TrajectoryReplay(block, 1).write(trajectory(100))
    reader = TrajectoryReplay(block)
    armed = f"rollout.packing=kill@{5 * NUM_TENSORS + field}"
    writer = group.start("writer", writers.writes_trajectories, block, 0, range(9), armed)
    writer.process.join(WAIT_S)
    assert writer.process.exitcode == -signal.SIGKILL
    assert block["replay_header"][0, 2, SEQUENCE] % 2 == 1
    assert all_of(reader) == {3, 4, 100}
    TrajectoryReplay(block, 1).write(trajectory(101))  # nobody waits for the dead
    assert all_of(reader) == {3, 4, 100, 101}
    successor = group.start("successor", writers.writes_trajectories, block, 0, range(6, 7), "")
    successor.process.join(WAIT_S)
    assert successor.process.exitcode == 0
    assert all_of(reader) == {3, 4, 6, 100, 101}


def test_two_write_and_one_samples(group: ProcessGroup) -> None:
    """However they meet, what is sampled is whole; and a worker's numbers never go back by more than its ring."""
    block = replay_block(workers=2, slots=2)
    reader, rng = TrajectoryReplay(block), np.random.default_rng(0)
    processes = [
        group.start(
            f"writer {worker}",
            writers.writes_trajectories,
            block,
            worker,
            range(first := worker * writers.PER_WORKER, first + 4000),
            "",
        ).process
        for worker in range(2)
    ]
    newest, samples = [0, 0], 0
    while any(process.is_alive() for process in processes) or not samples:
        sample = reader.sample(rng)
        if sample is not None:
            worker, number = divmod(number_of(sample), writers.PER_WORKER)
            assert number >= newest[worker] - 1
            newest[worker] = max(newest[worker], number)
            samples += 1
    assert [process.exitcode for process in processes] == [0, 0]
    assert all_of(reader) == {3998, 3999, writers.PER_WORKER + 3998, writers.PER_WORKER + 3999}


def test_the_counting_sees_a_torn_copy() -> None:
    half = trajectory(4)
    half.rewards[-1, -1] = 0
    with pytest.raises(AssertionError, match="torn: rewards"):
        number_of(Trajectory(*half))
