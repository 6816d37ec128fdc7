"""What a schedule follows: steps, a node's own or those that its parent has merged; and the time of the run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from marl.acting.collect import Episodes
from marl.algorithms.base import Loss
from marl.data.node.memory import STEPPING, STEPS, UPDATES, array, node_memory
from marl.data.node.metrics import read_metrics
from marl.data.shared import SharedBlock
from marl.training.flat import flatten
from marl.training.hogwild import train
from marl.training.learned_weights import SharedWeights
from marl.training.schedule_length import ScheduleLength
from marl.training.worker_metrics import Telemetry
from tests.exchanges.nodes import Clock, a_round, join, make_parent, weights
from tests.fake_algorithms import Lazy

SCHEDULE_STEPS = 1000


def memory(workers: int = 2) -> SharedBlock:
    return node_memory(num_weights=2, num_parameters=2, observation_size=1, workers=workers)


@dataclass(frozen=True)
class Slope(Lazy):
    """Its loss has a gradient, and that is all."""

    def loss(self, network: nn.Module, batch: Any) -> Loss:
        return Loss(sum(each.sum() for each in network.parameters()), {})


@dataclass(frozen=True)
class Sometimes(Slope):
    """Every second loss has a gradient that is not finite; counts how often it is asked to settle."""

    settled: tuple[list[int], ...] = ([],)
    asked: tuple[list[int], ...] = ([],)

    def loss(self, network: nn.Module, batch: Any) -> Loss:
        self.asked[0].append(1)
        total = sum(each.sum() for each in network.parameters())
        return Loss(total * (float("nan") if len(self.asked[0]) % 2 else 1.0), {"my_number": torch.tensor(0.5)})

    def settle(self, weights: Tensor, num_parameters: int, updates: int) -> None:
        self.settled[0].append(updates)


class Played:
    """Each trajectory is of 100 steps, in which environments take a quarter of a second."""

    def collect(self, unused_network: Any, unused_version: int) -> tuple[Any, Episodes]:
        return None, Episodes(np.zeros(0), np.zeros(0, np.int64), 100, 0.25)


class Once:
    """One batch of each trajectory."""

    def batches(self, trajectory: Any, unused_moment: Any) -> Iterator[Any]:
        yield trajectory

    def learned(self, loss: Loss) -> None:
        pass


class Rates:
    """An optimizer that only remembers its learning rates."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def step(self, weights: Tensor, gradient: Tensor, learning_rate: float) -> None:
        self.seen.append(learning_rate)


def rates(block: SharedBlock, *, alone: bool, merged: list[int], algorithm: Any = None) -> list[float]:
    """Learning rates of one trajectory after another; before each an answer has brought so many merged steps."""
    optimizer, network = Rates(), nn.Linear(1, 1)
    left = iter(merged)

    def go_on() -> bool:
        steps = next(left, None)
        if steps is not None:
            array(block, "base_steps")[0] = steps
        return steps is not None

    train(
        algorithm=algorithm or Slope(learning_rate=1.0, schedule="linear"),
        network=network,
        weights=SharedWeights(flatten(network), torch.zeros(2), optimizer),  # type: ignore[arg-type]
        source=Played(),
        minibatches=Once(),
        telemetry=Telemetry(block, 0, ScheduleLength(SCHEDULE_STEPS), alone=alone),
        generator=torch.Generator(),
        go_on=go_on,
    )
    return optimizer.seen


def test_a_childs_learning_rate_follows_what_is_merged() -> None:
    """Not what it plays itself, which here would be the whole schedule."""
    block = memory()
    array(block, "counters")[1, STEPS] = 10 * SCHEDULE_STEPS
    assert rates(block, alone=False, merged=[0, 0, 250, 250, 500, 999, 2000]) == pytest.approx(
        [1.0, 1.0, 0.75, 0.75, 0.5, 0.001, 0.0]
    )
    assert array(block, "counters")[0, STEPS] == 700
    assert read_metrics(block)["learning_rate"] == 1.0  # as told with the first update


def test_the_steps_of_a_trajectory_count_with_its_updates_where_these_are_counted() -> None:
    counters = array(block := memory(), "counters")[0]
    telemetry = Telemetry(block, 0, ScheduleLength(), updates=3)
    episodes = Episodes(np.zeros(0), np.zeros(0, np.int64), 100, 0.25)
    for number in range(2):
        told = []
        telemetry.collected(100)
        for skips in (False, True, False):
            telemetry.skipped() if skips else telemetry.updated({}, 1.0, 0.1)
            told.append((int(counters[STEPS]) - 100 * number, telemetry.is_learning()))
        assert told == [(34, True), (67, True), (100, False)]
        telemetry.played(episodes, 0.1, 0.1)
        assert counters[STEPS] == 100 * (number + 1)
    telemetry.collected(100)
    telemetry.updated({}, 1.0, 0.1)
    telemetry.played(episodes, 0.1, 0.1)  # there were fewer updates than usual
    assert counters[STEPS] == 300
    assert not telemetry.is_learning()
    for _ in range(2):  # and more than that: of a trajectory whose steps all count
        telemetry.updated({}, 1.0, 0.1)
    assert counters[STEPS] == 300


def test_alone_a_node_follows_its_own_steps_and_those_of_before() -> None:
    block = memory()
    array(block, "counters")[1, STEPS] = 300
    assert rates(block, alone=True, merged=[200, 200, 200]) == pytest.approx([0.5, 0.4, 0.3])


def test_the_seconds_of_environments_are_added_up_over_restarts_of_a_worker() -> None:
    block = memory()
    for _ in range(2):
        rates(block, alone=True, merged=[0, 0, 0])
    assert array(block, "seconds")[0, STEPPING] == 1.5


def test_the_steps_of_a_child_are_those_of_its_last_answer() -> None:
    clock = Clock()
    parent = make_parent(weights(0.0), clock)
    children = join(parent, clock, "a", "b")
    watched = [Telemetry(child.block, 1, ScheduleLength(SCHEDULE_STEPS), alone=False) for child in children]
    for child, steps in zip(children, (100, 300), strict=True):
        child.learn(0.0, steps)
    assert [each.progress() for each in watched] == [0.0, 0.0]
    a_round(parent, clock, children)
    children[0].learn(0.0, 10_000)
    assert [each.steps() for each in watched] == [400, 400]
    assert [each.progress() for each in watched] == [0.4, 0.4]


def test_a_schedule_over_time_follows_the_clock() -> None:
    """From when training began, over all resumes; at its end it stays at 1."""
    clock, block = Clock(), memory()
    clock.now = 1_000.0
    array(block, "began")[0] = 985.0
    watched = Telemetry(block, 0, ScheduleLength(minutes=1.0), clock=clock)
    assert watched.progress() == 0.25
    clock.now += 30.0
    assert watched.progress() == 0.75
    array(block, "began")[0] -= 6.0  # as after a new handshake: training began six seconds earlier
    assert watched.progress() == pytest.approx(0.85)
    clock.now += 60.0
    assert watched.progress() == 1.0


def test_by_steps_and_by_time_the_larger_progress_counts() -> None:
    clock, block = Clock(), memory()
    array(block, "began")[0] = clock()
    watched = Telemetry(block, 0, ScheduleLength(SCHEDULE_STEPS, minutes=1.0), clock=clock)
    array(block, "counters")[1, STEPS] = SCHEDULE_STEPS // 2
    clock.now += 15.0
    assert watched.progress() == 0.5
    clock.now += 30.0
    assert watched.progress() == 0.75


def test_the_clock_is_read_only_where_a_schedule_follows_it() -> None:
    def never() -> float:
        raise AssertionError("nobody needs the time")

    watched = Telemetry(memory(), 0, ScheduleLength(SCHEDULE_STEPS), clock=never)
    assert watched.progress() == 0.0
    assert Telemetry(memory(), 0, ScheduleLength(), clock=never).progress() == 0.0


def test_an_update_that_is_skipped_is_counted_apart() -> None:
    """Nor does it move target networks, which follow so many updates behind."""
    block, algorithm = memory(), Sometimes(learning_rate=1.0)
    assert len(rates(block, alone=True, merged=[0] * 7, algorithm=algorithm)) == 3
    assert array(block, "counters")[0, UPDATES] == 3
    assert read_metrics(block)["skipped_updates"] == 4
    assert read_metrics(block)["my_number"] == 0.5
    assert algorithm.settled[0] == [1, 2, 3]
