"""Reports: every episode is told until the parent has acknowledged it, however often the way to it breaks."""

import numpy as np
import pytest
import torch

from marl.cluster.trainers.child_metrics import ChildrenMetrics
from marl.data.node.memory import RING_ROWS, STEPS, array, node_memory, ring
from marl.errors import MessageRefused
from marl.exchanges import child_reports
from marl.exchanges.child_reports import (
    EVERY,
    LONGEST_SILENCE,
    MAX_EPISODES,
    Reporter,
    acknowledge,
    hear_all,
    read_report,
    report_buffers,
)
from marl.wire.message import Kind, Message
from tests.exchanges import nodes, observers
from tests.exchanges.actors import Actors
from tests.exchanges.nodes import Clock, carried


class Node:
    """A child's memory, its reporter, and a parent that acknowledges what it is told to."""

    def __init__(self, clock: Clock) -> None:
        self.block = node_memory(num_weights=1, num_parameters=1, observation_size=1, workers=2)
        self.reporter = Reporter(self.block, clock)

    def play(self, *returns: float, worker: int = 0) -> None:
        array(self.block, "counters")[worker, STEPS] += 10 * len(returns)
        rows = np.array([[each, 10.0] for each in returns])
        for start in range(0, len(rows), RING_ROWS):
            ring(self.block, worker).write(rows[start : start + RING_ROWS])
            self.reporter.gather()

    def told(self) -> list[tuple[int, list[float]]]:
        """What one round of reports says: how many episodes came before, and the returns."""
        found = [read_report(carried(each, report_buffers)) for each in self.reporter.messages("a", 0)]
        return [(each.first, each.returns.tolist()) for each in found]

    def acknowledge(self, count: int) -> None:
        self.reporter.acknowledged(Message(Kind.TELEMETRY, "parent", counter=count))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_episodes_are_told_until_they_are_acknowledged(clock: Clock) -> None:
    node = Node(clock)
    node.play(1.0, 2.0)
    assert node.told() == [(0, [1.0, 2.0])]
    node.play(3.0, worker=1)
    assert node.told() == [(0, [1.0, 2.0, 3.0])]
    node.acknowledge(2)
    assert node.told() == [(2, [3.0])]
    node.acknowledge(1)  # an old word
    node.reporter.joined()
    assert node.told() == [(2, [3.0])]
    node.acknowledge(1000)  # more than was said
    node.play(4.0)
    assert node.told() == [(3, [4.0])]


def test_what_ends_while_nobody_listens_is_told_later(clock: Clock) -> None:
    """Longer than a ring is, and more than a message holds."""
    node = Node(clock)
    returns = [float(each) for each in range(RING_ROWS + MAX_EPISODES)]
    node.play(*returns)
    told = node.told()
    assert [first for first, _ in told] == list(range(0, len(returns), MAX_EPISODES))
    assert [each for _, some in told for each in some] == returns


def test_what_is_kept_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_reports, "MOST_KEPT", 3)
    node = Node(clock)
    node.play(1.0, 2.0)
    node.play(3.0, 4.0, 5.0)
    assert node.told() == [(2, [3.0, 4.0, 5.0])]


def test_a_busy_parent_hears_less_often(clock: Clock) -> None:
    node = Node(clock)
    clock.now += EVERY
    assert node.reporter.due()
    node.told()  # of no episode: nothing is under way
    clock.now += EVERY
    assert node.reporter.due()
    node.play(1.0)
    node.told()
    clock.now += LONGEST_SILENCE - EVERY
    assert not node.reporter.due()
    node.acknowledge(1)
    assert node.reporter.due()
    node.play(2.0)
    node.told()
    clock.now += LONGEST_SILENCE  # the word of the parent may have been lost
    assert node.reporter.due()


@pytest.mark.parametrize("name", ["updates", "restarts"])
@pytest.mark.parametrize("value", [-1, 2**60, True, "1", None, 1.0])
def test_counts_that_cannot_be_are_refused(name: str, value: object) -> None:
    good: dict[str, object] = {"updates": 1, "restarts": 0}
    arrays = {"steps": torch.zeros(2, dtype=torch.int64), "episodes": torch.zeros(0, 2, dtype=torch.float64)}
    message = Message(Kind.TELEMETRY, "a", arrays=arrays, info=good | {name: value})  # type: ignore[arg-type]
    with pytest.raises(MessageRefused, match="counts that can be"):
        read_report(message)


@pytest.mark.parametrize("value", [1e31, -1e300, float("inf"), float("nan"), "x", None])
def test_metrics_that_cannot_be_are_left_out(value: object) -> None:
    arrays = {"steps": torch.zeros(2, dtype=torch.int64), "episodes": torch.zeros(0, 2, dtype=torch.float64)}
    info = {"updates": 1, "restarts": 0, "metric.entropy": value, "metric.kl": 0.5}
    assert read_report(Message(Kind.TELEMETRY, "a", arrays=arrays, info=info)).metrics == {"kl": 0.5}  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [nodes.Child, Actors, observers.Child])
def test_every_exchange_tells_again_what_broke_on_the_way(kind: type, clock: Clock) -> None:
    child = kind("a", clock=clock)

    def told() -> list[tuple[int, list[float]]]:
        clock.now += EVERY
        reports = [each for each in child.side.outgoing() if each.kind is Kind.TELEMETRY]
        return [(report.first, report.returns.tolist()) for report in map(read_report, reports)]

    ring(child.block, 0).write(np.array([[7.0, 1.0]]))
    assert told() == [(0, [7.0])]  # and the link breaks
    child.side.left()
    ring(child.block, 1).write(np.array([[8.0, 1.0]]))
    child.side.remember()
    child.side.joined()
    assert told() == [(0, [7.0, 8.0])]
    child.side.accept(Message(Kind.TELEMETRY, "parent", counter=2))
    assert told() == [(2, [])]
    assert not child.notes


def test_the_parent_acknowledges_what_it_has_counted() -> None:
    arrays = {"steps": torch.tensor([20, 0]), "episodes": torch.tensor([[7.0, 1.0], [8.0, 1.0]], dtype=torch.float64)}
    report = Message(Kind.TELEMETRY, "a", counter=5, arrays=arrays, info={"updates": 1, "restarts": 0})
    answer = acknowledge("parent", "a", read_report(report), ChildrenMetrics().hear)
    assert answer is not None
    assert (answer.message.kind, answer.message.counter) == (Kind.TELEMETRY, 7)
    nothing = {**arrays, "episodes": torch.zeros(0, 2, dtype=torch.float64)}
    assert acknowledge("parent", "a", read_report(report._replace(arrays=nothing)), hear_all) is None
