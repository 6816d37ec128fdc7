"""What arrives for a learner comes in batches: in order, each trajectory once, none older than allowed."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from marl.data.layout import Leaf
from marl.data.node.trajectory_queue import AGES, TrajectoryQueue, flow, trajectory_queue_fields
from marl.data.replay.rollout import pack
from marl.data.shared import SharedBlock
from marl.data.trajectory import Trajectory
from marl.processes.group import ProcessGroup
from marl.training.arrivals import Arrivals, side_by_side
from tests.commands import PATIENCE_S, until
from tests.data.rollouts import layout_of, learns, numbers_in, priorities_of
from tests.data.writers import trajectory

WEIGHTS = 3


def block_of(length: int) -> SharedBlock:
    fields = {"stop": Leaf((1,), torch.uint8), "version": Leaf((1,), torch.int64)}
    return SharedBlock({**fields, **trajectory_queue_fields(layout_of(), length, WEIGHTS)})


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    with ProcessGroup() as group:
        yield group


def arrive(trajectory_queue: TrajectoryQueue, number: int, version: int = 0) -> None:
    """A trajectory comes; the caller knows that there is room."""
    place, memory = trajectory_queue.place()
    pack(layout_of().open(memory), trajectory(number)._replace(version=version), priorities_of(number))
    trajectory_queue.queue(place)


def arrivals_of(block: SharedBlock, batch: int = 1, max_staleness: int = 8) -> Arrivals:
    cpu = torch.device("cpu")
    return Arrivals(block, layout_of(), batch=batch, max_staleness=max_staleness, device=cpu)


def batch(arrivals: Arrivals, version: int = 0) -> list[int]:
    assert arrivals.wait()
    came, episodes = arrivals.collect(None, version)  # type: ignore[arg-type]
    assert len(episodes.returns) == 0
    return numbers_in(came)


def test_first_come_first_learned_from_and_each_once() -> None:
    block = block_of(4)
    trajectory_queue, arrivals, rng = TrajectoryQueue(block), arrivals_of(block, batch=2), np.random.default_rng(0)
    sent, came = 0, list[int]()
    for _ in range(200):
        for _ in range(int(rng.integers(0, 4))):
            if trajectory_queue.num_free():
                arrive(trajectory_queue, sent)
                sent += 1
        if sent - len(came) >= 2:
            came += batch(arrivals)
    assert came == list(range(len(came)))
    assert len(came) > 150
    assert flow(block).used == len(came)


def test_a_batch_stays_whole_until_the_next_is_asked_for() -> None:
    block = block_of(2)
    trajectory_queue, arrivals = TrajectoryQueue(block), arrivals_of(block, batch=2)
    arrive(trajectory_queue, 1)
    arrive(trajectory_queue, 2)
    assert batch(arrivals) == [1, 2]
    assert trajectory_queue.num_free() == 0
    block["stop"].fill_(1)
    assert not arrivals.wait()
    assert trajectory_queue.num_free() == 2


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_what_is_too_old_is_dropped_and_counted(limit: int) -> None:
    block = block_of(16)
    trajectory_queue, arrivals = TrajectoryQueue(block), arrivals_of(block, max_staleness=limit)
    block["version"].fill_(10)
    for version in range(13):
        arrive(trajectory_queue, version, version)
    found = []
    while len(found) < limit + 1:
        found += batch(arrivals, version=10)
    assert found == list(range(10 - limit, 11))
    block["stop"].fill_(1)
    assert not arrivals.wait()  # 11 and 12 are left: of versions that this life of the run has not made
    known = flow(block)
    assert (known.used, known.stale) == (limit + 1, 13 - limit - 1 - 2)
    assert known.ages[: limit + 1].tolist() == [1] * (limit + 1)
    assert known.age_of(1) == limit
    assert known.age_of(0.5) == limit // 2
    assert known.mean_age() == limit / 2


def test_a_version_that_is_still_to_come_is_none_of_ours() -> None:
    block = block_of(4)
    trajectory_queue, arrivals = TrajectoryQueue(block), arrivals_of(block)
    block["version"].fill_(3)
    arrive(trajectory_queue, 1, version=2**62)
    arrive(trajectory_queue, 2, version=4)
    arrive(trajectory_queue, 3, version=3)
    assert batch(arrivals, version=3) == [3]
    assert flow(block).stale == 2


def test_what_is_too_old_makes_room_while_a_batch_is_incomplete() -> None:
    """The queue is no longer than the batch: what is dropped has to leave its place at once."""
    block = block_of(2)
    trajectory_queue, arrivals = TrajectoryQueue(block), arrivals_of(block, batch=2, max_staleness=0)
    block["version"].fill_(1)
    arrive(trajectory_queue, 1, version=1)
    arrive(trajectory_queue, 2, version=0)
    waiting = threading.Thread(target=arrivals.wait, daemon=True)
    waiting.start()
    until(trajectory_queue.num_free)
    arrive(trajectory_queue, 3, version=1)
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
    came, _ = arrivals.collect(None, 1)  # type: ignore[arg-type]
    assert numbers_in(came) == [1, 3]


def test_ages_beyond_the_histogram_are_counted_as_its_last() -> None:
    block = block_of(1)
    trajectory_queue, arrivals = TrajectoryQueue(block), arrivals_of(block, max_staleness=10**6)
    block["version"].fill_(5000)
    arrive(trajectory_queue, 1)
    assert batch(arrivals, version=5000) == [1]
    assert flow(block).age_of(1) == AGES - 1


def test_priorities_come_along() -> None:
    block = block_of(2)
    trajectory_queue, arrivals = TrajectoryQueue(block), arrivals_of(block)
    arrive(trajectory_queue, 5)
    batch(arrivals)
    assert torch.equal(arrivals.priorities, priorities_of(5))


def test_the_steps_of_a_batch_are_counted_and_its_seconds_are_left_to_the_actors() -> None:
    block = block_of(2)
    trajectory_queue, arrivals = TrajectoryQueue(block), arrivals_of(block, batch=2)
    for number in (5, 6):
        arrive(trajectory_queue, number)
    assert arrivals.wait()
    _, episodes = arrivals.collect(None, 0)  # type: ignore[arg-type]
    assert episodes.steps == sum(int(trajectory(number).valid.sum()) for number in (5, 6))
    assert episodes.seconds == 0


def test_another_process_gets_each_once_and_in_order(group: ProcessGroup) -> None:
    block = block_of(4)
    trajectory_queue = TrajectoryQueue(block)
    group.start("learner", learns, block, 1, 10**6, "")
    came = list[int]()
    for number in range(500):
        while not trajectory_queue.num_free():
            came += group.receive("learner", PATIENCE_S) or []
        arrive(trajectory_queue, number)
    while len(came) < 500:
        came += group.receive("learner", PATIENCE_S) or []
    assert came == list(range(500))
    block["stop"].fill_(1)
    until(lambda: trajectory_queue.num_free() == 4)


def test_a_killed_learner_costs_what_it_had_in_hand_and_no_more(group: ProcessGroup) -> None:
    block = block_of(6)
    trajectory_queue = TrajectoryQueue(block)
    for number in range(6):
        arrive(trajectory_queue, number)
    group.start("learner", learns, block, 2, 10**6, "learner.taking=kill@4")  # 0 and 1 learned from, 2 and 3 in hand
    until(lambda: group.check())
    assert trajectory_queue.restart() == 2
    assert trajectory_queue.num_free() == 4
    arrive(trajectory_queue, 6)
    arrive(trajectory_queue, 7)
    group.start("learner", learns, block, 2, 10**6, "")
    assert group.receive("learner", PATIENCE_S) == [4, 5]
    assert group.receive("learner", PATIENCE_S) == [6, 7]
    block["stop"].fill_(1)
    until(lambda: trajectory_queue.num_free() == 6)


def test_a_successor_of_an_idle_learner_misses_nothing() -> None:
    block = block_of(3)
    trajectory_queue = TrajectoryQueue(block)
    arrive(trajectory_queue, 1)
    assert trajectory_queue.restart() == 0
    assert batch(arrivals_of(block)) == [1]


def test_side_by_side() -> None:
    """Two steps; three environments and one: every value names the trajectory, the step and the environment."""

    def part(which: int, count: int, index: list[int]) -> Trajectory:
        named = torch.tensor([[100 * which + 10 * t + b for b in range(count)] for t in range(3)])
        flags = named[:2] % 2 == 0
        last = torch.tensor(index, dtype=torch.int64)
        return Trajectory(
            observations=named[..., None].float(),
            actions=named[:2],
            rewards=named[:2].float(),
            terminated=flags,
            truncated=~flags,
            valid=flags,
            last_observations=1000.0 * which + last[:, None],
            last_index=last,
            behaviour=named[:2, :, None].float(),
            version=5 - which,
            state={"mind": named[0, :, None].float(), "count": (named[0],)},
        )

    joined = side_by_side([part(1, 3, [5, 1]), part(2, 1, [0, 1])])
    assert joined.actions.tolist() == [[100, 101, 102, 200], [110, 111, 112, 210]]
    assert joined.observations[2, :, 0].tolist() == [120, 121, 122, 220]
    assert joined.rewards.flatten().tolist() == joined.actions.flatten().tolist()
    assert joined.terminated.tolist() == [[True, False, True, True], [True, False, True, True]]
    # (step 1, environment 2) and (0, 1) of the first; (0, 0) and (1, 0) of the second, which is the fourth column.
    assert joined.last_index.tolist() == [6, 1, 3, 7]
    assert joined.last_observations[:, 0].tolist() == [1005, 1001, 2000, 2001]
    assert joined.state["mind"].tolist() == [[100.0], [101.0], [102.0], [200.0]]
    assert joined.state["count"][0].tolist() == [100, 101, 102, 200]
    assert joined.version == 3
    only = part(1, 3, [])
    assert side_by_side([only]) is only
