"""A worker that ends is started again unless it was told to end, or there is nothing left to play."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from marl.algorithms.build import build_network
from marl.cluster import node as module
from marl.cluster.find_spaces import find_spaces
from marl.cluster.node import LONG_SERVICE_S, Node
from marl.config.files import load_config
from marl.errors import WorkerFailed
from marl.processes.group import ProcessGroup
from marl.training.flat import flatten
from tests import process_targets as targets

PATIENCE_S = 60.0
STEPS = 200


@pytest.fixture
def make() -> Iterator[Callable[..., Node]]:
    """Makes a node whose processes end with the test."""
    config = load_config("CartPole-v1", {"seed": 1, "stop.steps": STEPS, "node.max_restarts": 2})
    spaces = find_spaces(config)
    network = build_network(config.algorithm, spaces, config.network, 1)
    with ProcessGroup() as group:

        def made(**options: Any) -> Node:
            return Node(config, spaces, network, flatten(network).weights, group, 2, **options)

        yield made


def ended(node: Node, code: int = 0) -> list[str]:
    """The node's workers have ended; what the user is told."""
    for member in node._group.members.values():
        member.process.join(PATIENCE_S)
        assert member.process.exitcode == code
    notes: list[str] = []
    traces: list[str] = []
    died = node.check(notes.append, traces.append, "worker")
    assert len(died) == len(notes)
    assert len(traces) == (len(died) if code else 0)
    return notes


def test_workers_that_have_played_enough_may_end(make: Callable[..., Node]) -> None:
    node = make()
    node.start()
    assert ended(node) == []
    assert node.steps() >= STEPS


@pytest.mark.parametrize("alone", [True, False])
def test_workers_that_end_by_themselves_have_died(
    alone: bool, make: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "work", targets.ends_well)
    node = make(alone=alone)
    if not alone:
        node.block["base_steps"].fill_(STEPS)  # a child's own count of steps ends nothing
    node.start()
    assert ended(node) == [
        f"worker {number} died (ended by itself with exit code 0) and is started again" for number in range(2)
    ]
    assert node.restarts == 2
    node.restart("worker 0")
    node.stop()
    assert ended(node) == []


@pytest.mark.parametrize("alone", [True, False])
def test_an_environment_that_does_not_keep_to_its_spaces_ends_all_at_once(
    alone: bool, make: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after it was played for a while: each restart would play as long, and end in the same way."""
    monkeypatch.setattr(module, "work", targets.plays_and_breaks_its_spaces)
    node = make(alone=alone)
    node.start()
    with pytest.raises(WorkerFailed, match=r"^another shape \(worker 0"):
        ended(node, 1)
    assert node.restarts == 0


@pytest.mark.parametrize("alone", [True, False])
def test_an_environment_that_crashed_is_tried_again(
    alone: bool, make: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "work", targets.plays_and_crashes)
    node = make(alone=alone)
    node.start()
    assert ended(node, 1) == [f"worker {number} died (the motor broke) and is started again" for number in range(2)]


@pytest.mark.parametrize(
    ("target", "served_s", "alone", "restarts"),
    [
        (targets.learns_and_crashes, LONG_SERVICE_S, False, 4),
        (targets.learns_and_crashes, LONG_SERVICE_S - 1, False, 2),
        (targets.learns_and_crashes, LONG_SERVICE_S, True, 2),
        (targets.plays_and_crashes, LONG_SERVICE_S, False, 2),
    ],
)
def test_crashes_of_an_environment_count_in_a_row_on_a_child_that_learned_for_long(
    target: Callable[..., None],
    served_s: float,
    alone: bool,
    restarts: int,
    make: Callable[..., Node],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two restarts are allowed, and each of the two workers crashes twice."""
    monkeypatch.setattr(module, "work", target)
    now = [0.0]
    node = make(alone=alone, clock=lambda: now[0])
    node.start()
    now[0] += served_s
    assert len(ended(node, 1)) == 2
    for number in range(2):
        node.restart(f"worker {number}")
    now[0] += served_s
    if restarts == 4:
        assert len(ended(node, 1)) == 2
    else:
        with pytest.raises(WorkerFailed, match=r"^the motor broke \(worker 0 after 2 restarts"):
            ended(node, 1)
    assert node.restarts == restarts
