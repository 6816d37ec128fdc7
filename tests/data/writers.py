"""Experience that counts, so that a torn copy shows, and processes that write it until they are done or killed."""

import importlib
import os
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import Tensor

from marl import failpoints
from marl.data.layout import Leaf
from marl.data.replay.priorities import Priorities
from marl.data.replay.rollout import rollout_tree
from marl.data.replay.trajectory_replay import TrajectoryReplay, replay_fields
from marl.data.replay.transitions import TransitionReplay, Transitions
from marl.data.shared import SharedBlock
from marl.data.trajectory import Trajectory

LENGTH, ENVIRONMENTS, SIZE, PARAMETERS, MAX_LAST = 5, 3, 40, 2, 3
OBSERVATION, ACTION = Leaf((SIZE,), torch.float32), Leaf((), torch.int64)
PER_WORKER = 100_000  # numbers: worker 2 begins at 200,000


def replay_block(workers: int, slots: int) -> SharedBlock:
    """Memory for counting trajectories."""
    rollout = rollout_tree(
        length=LENGTH,
        environments=ENVIRONMENTS,
        observation=OBSERVATION,
        action=ACTION,
        num_parameters=PARAMETERS,
        priorities=False,
    )
    return SharedBlock(replay_fields(rollout, workers=workers, slots=slots))


def trajectory(number: int) -> Trajectory:
    """Every value names the number and the step; so do the flags, as far as they can."""
    steps = torch.arange(LENGTH + 1) + 8 * number  # below 2^24, exact in float32
    per_step = steps[:-1, None].expand(LENGTH, ENVIRONMENTS)
    places = torch.arange(LENGTH * ENVIRONMENTS).view(LENGTH, ENVIRONMENTS)
    last_index = torch.arange(number % (MAX_LAST + 1)) * 4
    return Trajectory(
        observations=steps[:, None, None].expand(LENGTH + 1, ENVIRONMENTS, SIZE).float(),
        actions=per_step.clone(),
        rewards=per_step.float(),
        terminated=(places + number) % 3 == 0,
        truncated=(places + number) % 5 == 0,
        valid=(places + number) % 7 != 0,
        last_observations=(steps[0] + last_index)[:, None].expand(-1, SIZE).float(),
        last_index=last_index,
        behaviour=per_step[..., None].expand(-1, -1, PARAMETERS).float(),
        version=number,
    )


def number_of(sampled: Trajectory) -> int:
    """Which it is; fails unless each value says the same."""
    for name, came, expected in zip(Trajectory._fields, sampled, trajectory(sampled.version), strict=True):
        if isinstance(came, Tensor):
            assert came.dtype == expected.dtype
            assert torch.equal(came, expected), f"torn: {name} of {sampled.version}"
    return sampled.version


def transitions(numbers: range) -> Transitions:
    """Every value of a transition is its number."""
    column = torch.arange(numbers.start, numbers.stop)
    values, observations = column.float(), column.float()[:, None].expand(-1, SIZE)
    return Transitions(observations, column, values, values, observations, column)


def numbers_of(gathered: Transitions, whole: Tensor) -> list[int]:
    """Which those are that count as whole; fails unless each value says the same."""
    for tensor in gathered:
        values = tensor.reshape(len(tensor), -1)[whole].to(torch.int64)
        assert (values == gathered.versions[whole][:, None]).all(), "torn"
    return gathered.versions[whole].tolist()


def writes_trajectories(pipe: Connection, block: SharedBlock, worker: int, numbers: range, armed: str) -> None:
    """All of them, unless a failpoint ends it."""
    _arm(armed)
    replay = TrajectoryReplay(block, worker)
    for number in numbers:
        replay.write(trajectory(number))


def adds_transitions(pipe: Connection, block: SharedBlock, worker: int, batches: list[range], armed: str) -> None:
    """All of them, unless a failpoint ends it."""
    _arm(armed)
    replay = TransitionReplay(block, worker)
    for numbers in batches:
        replay.add(transitions(numbers))


def sets_priorities(pipe: Connection, block: SharedBlock, places: np.ndarray, rounds: int, armed: str) -> None:
    """Any priorities, zeros among them, for any of the places."""
    _arm(armed)
    priorities, rng = Priorities(block, alpha=1.0), np.random.default_rng(int(places[0]))
    for _ in range(rounds):
        priorities.set(rng.choice(places, 16), rng.integers(0, 3, 16).astype(float))


def _arm(text: str) -> None:
    """A process that a forkserver starts has the environment of before."""
    os.environ[failpoints.VARIABLE] = text
    importlib.reload(failpoints)
