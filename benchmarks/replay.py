"""How many transitions a second go into and out of the prioritised replay, on one thread?

    python benchmarks/replay.py --capacity 1000000 --repeats 20

The peers are sum trees as they are commonly written, two children a node, over arrays that no other process sees and
nothing guards: one that walks a transition at a time, one that walks a batch a level at a time. All take turns; best
of the repeats, in seconds of the processor, so that other programs take less from them.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marl.data.layout import Leaf
from marl.data.replay.priorities import Priorities, importance_weights, priority_fields
from marl.data.replay.rollout import rollout_tree
from marl.data.replay.trajectory_replay import TrajectoryReplay, replay_fields
from marl.data.replay.transitions import TransitionReplay, Transitions, transition_fields
from marl.data.shared import SharedBlock
from marl.data.trajectory import Trajectory
from measure import busy_share, keep, machine, table

ALPHA, BETA = 0.6, 0.4
INSERTED, SAMPLED = (256, 1024), 512  # transitions a batch
NUMBERS = 8  # of an observation
TO_REACH = {"insert 256": 1e6, "insert 1024": 1e6, "sample": 5e5}

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Ours:
    """What a worker and a learner do."""

    def __init__(self, capacity: int) -> None:
        observation, action = Leaf((NUMBERS,), torch.float32), Leaf((), torch.int64)
        fields = transition_fields(capacity=capacity, workers=1, observation=observation, action=action)
        block = SharedBlock({**fields, **priority_fields(capacity)})
        self._replay, self._priorities = TransitionReplay(block, 0), Priorities(block, ALPHA)

    def insert(self, batch: Transitions, priorities: Floats) -> None:
        self._priorities.set(self._replay.add(batch), priorities)

    fill = insert

    def sample(self, rng: np.random.Generator) -> tuple[Integers, Any, Any]:
        indices, probabilities = self._priorities.sample(SAMPLED, rng) or ((), ())
        batch, whole = self._replay.gather(indices)
        return indices, batch, importance_weights(probabilities, len(self._replay), BETA)[0] * whole.numpy()

    def write_back(self, indices: Integers, priorities: Floats) -> None:
        self._priorities.set(indices, priorities)


class Level:
    """A binary tree in one array: the children of node n are 2 n and 2 n + 1; a batch walks a level at a time."""

    def __init__(self, capacity: int) -> None:
        self._first = 1 << (capacity - 1).bit_length()
        self._sums = np.zeros(2 * self._first)
        self._rows = [np.zeros((capacity, NUMBERS), np.float32), np.zeros(capacity, np.int64)]
        self._rows += [np.zeros(capacity, np.float32) for _ in range(2)]
        self._rows += [np.zeros((capacity, NUMBERS), np.float32), np.zeros(capacity, np.int64)]
        self._next, self._capacity = 0, capacity

    def insert(self, batch: Transitions, priorities: Floats) -> None:
        self.write_back(self._add(batch), priorities)

    def fill(self, batch: Transitions, priorities: Floats) -> None:
        Level.write_back(self, self._add(batch), priorities)  # also of who would need a minute

    def sample(self, rng: np.random.Generator) -> tuple[Integers, Any, Any]:
        indices = self.find((np.arange(SAMPLED) + rng.random(SAMPLED)) / SAMPLED * self._sums[1])
        weights = (self._capacity * self._sums[indices + self._first] / self._sums[1]) ** -BETA
        return indices, [rows[indices] for rows in self._rows], weights / weights.max()

    def write_back(self, indices: Integers, priorities: Floats) -> None:
        node = indices + self._first
        self._sums[node] = priorities**ALPHA
        while node[0] > 1:
            node = node // 2
            self._sums[node] = self._sums[2 * node] + self._sums[2 * node + 1]

    def _add(self, batch: Transitions) -> Integers:
        indices = (self._next + np.arange(len(batch.returns))) % self._capacity
        for rows, new in zip(self._rows, batch, strict=True):
            rows[indices] = new.numpy()
        self._next += len(indices)
        return indices

    def find(self, target: Floats) -> Integers:
        node = np.ones(len(target), np.int64)
        while node[0] < self._first:
            left = self._sums[2 * node]
            right = target >= left
            target, node = target - left * right, 2 * node + right
        return node - self._first


class Single(Level):
    """The same, a transition at a time."""

    def write_back(self, indices: Integers, priorities: Floats) -> None:
        for index, priority in zip(indices.tolist(), priorities.tolist(), strict=True):
            node = index + self._first
            self._sums[node] = priority**ALPHA
            while node > 1:
                node //= 2
                self._sums[node] = self._sums[2 * node] + self._sums[2 * node + 1]

    def find(self, target: Floats) -> Integers:
        found = []
        for left_to_go in target.tolist():
            node = 1
            while node < self._first:
                node *= 2
                if left_to_go >= self._sums[node]:
                    left_to_go -= self._sums[node]
                    node += 1
            found.append(node - self._first)
        return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacity", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    replays = {
        "ours": Ours(options.capacity),
        "binary tree, a level at a time": Level(options.capacity),
        "binary tree, one at a time": Single(options.capacity),
    }
    for replay in replays.values():
        replay.fill(transitions(options.capacity), rng.random(options.capacity))

    busy = busy_share()
    rates: dict[str, dict[str, list[float]]] = {name: {} for name in replays}
    for _ in range(options.repeats):
        for name, replay in replays.items():
            batches = 3 if isinstance(replay, Single) else 100
            for task, (size, action) in tasks(replay, rng).items():
                rates[name].setdefault(task, []).append(size * batches / seconds(action, batches))

    best = {name: {task: max(found) for task, found in each.items()} for name, each in rates.items()}
    names = list(best["ours"])
    rows = [[name, *(f"{best[name][task] / 1e6:.3f}" for task in names)] for name in replays]
    rows += [
        [f"ours against: {name}", *(f"{best['ours'][task] / best[name][task]:.1f}x" for task in names)]
        for name in list(replays)[1:]
    ]
    rows.append(["to reach", *(f">= {TO_REACH[task] / 1e6}" if task in TO_REACH else "" for task in names)])
    print(f"\n{options.capacity:,} transitions, observations of {NUMBERS} numbers, one thread; {busy:.0%} busy before.")
    print(f"{machine()}\n")
    print(table(["millions a second", *names], rows))
    copies = trajectory_rates(options.repeats)
    print("\nTrajectories of 20 steps in 16 environments:\n")
    print(table(["", "a second", "GB/s"], [[name, f"{rate:,.0f}", f"{size:.1f}"] for name, rate, size in copies]))
    keep("replay", {"arguments": vars(options), "rates": rates, "trajectories": copies, "busy_before": busy})


def tasks(replay: Ours | Level, rng: np.random.Generator) -> dict[str, tuple[int, Callable[[], object]]]:
    """What is measured: how many transitions one call moves, and the call."""
    batches = {size: (transitions(size), rng.random(size)) for size in INSERTED}
    priorities = rng.random(SAMPLED)

    def sample_and_write_back() -> None:
        replay.write_back(replay.sample(rng)[0], priorities)

    inserts = {f"insert {size}": (size, partial(replay.insert, *batch)) for size, batch in batches.items()}
    return {
        **inserts,
        "sample": (SAMPLED, partial(replay.sample, rng)),
        "sample, write back": (SAMPLED, sample_and_write_back),
    }


def transitions(count: int) -> Transitions:
    """Any."""
    observations, column = torch.rand(count, NUMBERS), torch.rand(count)
    return Transitions(
        observations, torch.ones(count, dtype=torch.int64), column, column, observations, torch.arange(count)
    )


def trajectory_rates(repeats: int) -> list[tuple[str, float, float]]:
    """Trajectories a second, and the gigabytes in them: written, sampled, and only copied."""
    length, environments, slots = 20, 16, 256
    steps = torch.rand(length, environments)
    flags = steps > 0.9
    trajectory = Trajectory(
        observations=torch.rand(length + 1, environments, NUMBERS),
        actions=torch.zeros(length, environments, dtype=torch.int64),
        rewards=steps,
        terminated=flags,
        truncated=flags,
        valid=~flags,
        last_observations=torch.zeros(0, NUMBERS),
        last_index=torch.zeros(0, dtype=torch.int64),
        behaviour=torch.rand(length, environments, 4),
        version=0,
    )
    rollout = rollout_tree(
        length=length,
        environments=environments,
        observation=Leaf((NUMBERS,), torch.float32),
        action=Leaf((), torch.int64),
        num_parameters=4,
        priorities=False,
    )
    fields = replay_fields(rollout, workers=1, slots=slots)
    replay, rng = TrajectoryReplay(SharedBlock(fields), 0), np.random.default_rng(0)
    tensors = [tensor for tensor in trajectory if isinstance(tensor, torch.Tensor)]
    copies = [tensor.clone() for tensor in tensors]

    def copy() -> None:
        for ours, theirs in zip(copies, tensors, strict=True):
            ours.copy_(theirs)

    for _ in range(slots):
        replay.write(trajectory)
    gigabytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e9
    found = []
    for name, action in {
        "write": partial(replay.write, trajectory),
        "sample": partial(replay.sample, rng),
        "copies of the same tensors": copy,
    }.items():
        rate = max(1000 / seconds(action, 1000) for _ in range(repeats))
        found.append((name, rate, rate * gigabytes))
    return found


def seconds(action: Callable[[], object], times: int) -> float:
    """Of the processor, for so many calls."""
    started = time.process_time()
    for _ in range(times):
        action()
    return time.process_time() - started


if __name__ == "__main__":
    main()
