"""Rounds of k updates, also within what is learned from one trajectory, against a loop of float64 numbers."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from marl.acting.collect import Episodes
from marl.algorithms.base import Loss
from marl.data.node.memory import SKIPPED, STEPS, UPDATES, array
from marl.exchanges.merging.parent import MergingParent
from marl.exchanges.merging.rest import WorkerRest
from marl.exchanges.triggers import parse_trigger
from marl.exchanges.weights.upload_schedule import Schedule
from marl.training.flat import flatten
from marl.training.hogwild import train
from marl.training.learned_weights import shared_weights
from marl.training.optimizers import OptimizerSettings
from marl.training.schedule_length import ScheduleLength
from marl.training.worker_metrics import Telemetry
from marl.wire.message import Kind, Message
from tests.exchanges.nodes import SIZE, Child, Clock, Waiting, join, make_exchange, make_parent, weights
from tests.fake_algorithms import Lazy

BATCHES, STEPS_OF_A_TRAJECTORY, RATE = 4, 100, 0.1


@dataclass(frozen=True)
class Pulled(Lazy):
    """Each minibatch pulls the weights towards a number of its own."""

    def loss(self, network: nn.Module, batch: float) -> Loss:
        return Loss(0.5 * sum(((each - batch) ** 2).sum() for each in network.parameters()), {})


class Source:
    """See ``Source`` of ``train``: trajectory after trajectory, told apart by their number."""

    def __init__(self) -> None:
        self.number = -1

    def collect(self, unused_network: Any, unused_version: int) -> tuple[int, Episodes]:
        self.number += 1
        return self.number, Episodes(np.zeros(0), np.zeros(0, np.int64), STEPS_OF_A_TRAJECTORY, 0.0)


class Minibatches:
    """See ``MinibatchSource``."""

    def __init__(self, rank: int) -> None:
        self._rank = rank

    def batches(self, trajectory: Any, unused_moment: Any) -> Iterator[float]:
        for index in range(BATCHES):
            yield target(self._rank, BATCHES * trajectory + index)

    def learned(self, loss: Loss) -> None:
        pass


def target(rank: int, update: int) -> float:
    return (1.0 + (7 * update + 3 * rank) % 11) * (20.0 if rank else -10.0)


def playing(child: Child, rank: int, every: str) -> threading.Thread:
    """The child's only worker, in a thread."""
    block, network = child.block, nn.Linear(SIZE - 1, 1)
    rest = WorkerRest(block, 0, parse_trigger(every))
    telemetry = Telemetry(block, 0, ScheduleLength(), alone=False, updates=BATCHES)

    def between() -> None:
        if telemetry.is_learning():
            rest()

    def go_on() -> bool:
        rest()
        return not block["stop"][0]

    thread = threading.Thread(
        target=train,
        kwargs={
            "algorithm": Pulled(learning_rate=RATE, max_gradient_norm=1e9),
            "network": network,
            "weights": shared_weights(flatten(network), block, OptimizerSettings(name="sgd")),
            "source": Source(),
            "minibatches": Minibatches(rank),
            "telemetry": telemetry,
            "generator": torch.Generator(),
            "go_on": go_on,
            "between": between,
        },
        daemon=True,
    )
    thread.start()
    return thread


def upload_of(child: Child) -> Message:
    """The next upload, when its workers have made the updates of a round."""
    while True:
        for message in child.side.outgoing():
            if message.kind is Kind.UPLOAD:
                return message


def a_version(parent: MergingParent, clock: Clock, children: list[Child]) -> list[Message]:
    clock.now += 5
    uploads = [upload_of(child) for child in children]
    before = parent.current.version
    waiting = [Waiting(parent, upload) for upload in uploads]
    with parent._changed:
        assert parent._changed.wait_for(lambda: parent.current.version > before, 10)
    parent.release()
    for child, each in zip(children, waiting, strict=True):
        child.take(each.answer())
    return uploads


@pytest.mark.parametrize("k", [1, 3, 4, 6, 8])
@pytest.mark.parametrize("deterministic", [False, True])
def test_weights_are_averaged_after_exactly_k_updates_of_each(k: int, deterministic: bool, clock: Clock) -> None:
    settings: dict[str, Any] = {"every": f"{k} updates", "barrier": not deterministic, "clip": float("inf")}
    if deterministic:
        exchange = make_exchange(**settings)
        parent = exchange.parent_class()(weights(0.0), exchange, name="parent", children=2, clock=clock)
    else:
        parent = make_parent(weights(0.0), clock, **settings)
    children = [Child(name, clock, workers=1, deterministic=deterministic, **settings) for name in "ab"]
    for rank, child in enumerate(children):
        parent.assign_rank(child.name, rank, workers=1)
        child.take(parent.join(child.name))
        child.side._rest.hold()
    threads = [playing(child, rank, settings["every"]) for rank, child in enumerate(children)]
    literal, steps = np.zeros(SIZE), 0
    for number in range(1, 10):
        uploads = a_version(parent, clock, children)
        own = [literal.copy() for _ in children]
        for rank, each in enumerate(own):
            for update in range((number - 1) * k, number * k):
                each -= RATE * (each - target(rank, update))
        literal = sum(own) / 2
        steps += sum(int(upload.info["work"]) for upload in uploads)  # type: ignore[arg-type]
        assert steps == 2 * number * k * STEPS_OF_A_TRAJECTORY // BATCHES == parent.current.steps
        assert np.allclose(parent.current.weights.double().numpy(), literal, rtol=1e-5, atol=1e-4)
    for child, thread in zip(children, threads, strict=True):
        child.block["stop"].fill_(1)
        thread.join(10)
        assert not thread.is_alive()


def test_without_a_barrier_an_upload_is_due_when_every_worker_has_made_its_updates(clock: Clock) -> None:
    parent = make_parent(weights(0.0), clock, every="3 updates")
    (child,) = join(parent, clock, "a", every="3 updates")
    counters = array(child.block, "counters")
    counters[0, [STEPS, UPDATES]] = 75, 9
    counters[1, [UPDATES, SKIPPED]] = 1, 1
    assert child.due() == []
    counters[1, SKIPPED] = 2  # an update whose gradient was not finite took its time, too
    clock.now += 5
    upload = child.upload()
    assert upload.info["work"] == 75
    child.take(Waiting(parent, upload).answer())
    counters[0, [STEPS, UPDATES]] = 100, 12
    assert child.due() == []  # they count from the snapshot on
    counters[1, UPDATES] = 4
    assert child.due() == [Kind.UPLOAD]


def test_a_look_waits_a_little_for_updates_only(clock: Clock) -> None:
    block = Child("a", clock).block
    looks: list[int] = []
    seconds: list[float] = []

    def third() -> bool:
        looks.append(1)
        return len(looks) >= 3

    assert not Schedule("3 steps", block, clock).becomes(third, seconds.append)
    assert len(looks) == 1
    assert seconds == []
    assert Schedule("3 updates", block, clock).becomes(third, seconds.append)
    assert len(looks) == 3
    assert len(seconds) == 1  # which virtual time does not count
