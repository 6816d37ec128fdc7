"""Virtual time of rounds of gradients, with numbers that a person can work out."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from marl.algorithms.a3c import A3C
from marl.algorithms.ppo import PPO
from marl.data.node.memory import array
from marl.exchanges.base import ChildFacts, ParentFacts
from marl.exchanges.gradients.asynchronous_child import AsynchronousChild
from marl.exchanges.gradients.exchange import Gradients
from marl.exchanges.gradients.memory import BUSY, GRADIENT, KIND, NOTHING, NUMBER, SUMS
from marl.exchanges.gradients.parent import GradientsParent
from marl.exchanges.virtual_time import BusyChild, RoundTimer, VirtualClock, VirtualLink
from marl.training.flat import flatten
from marl.wire.message import Array, Kind, Message, Value
from tests.algorithms.cases import DISCRETE
from tests.exchanges.literal_gradients import SHARDS, B, T, learn, played
from tests.exchanges.nodes import Clock
from tests.exchanges.shards import Fleet

LINK = VirtualLink(delay_s=0.125, bytes_per_second=1000.0)


class Counted:
    """See ``BusyTime``: a worker that is busy for so long before each part."""

    def __init__(self, each: float) -> None:
        self._each, self._total = each, 0.0

    def seconds(self) -> float:
        self._total += self._each
        return self._total

    def waits(self, wait: Callable[[], Any]) -> Any:
        return wait()


def timed(fleet: Fleet) -> RoundTimer:
    """Give the fleet a parent with a timer. Every round has 500 bytes up and 250 down, the first none down."""
    timer = RoundTimer(VirtualClock(LINK, barrier=True), lambda: 0.0)
    fleet.parent = fleet.make_parent(timer=timer)
    timer.traffic = lambda unused: (500 * (1 + fleet.parent.current.version), 250 * fleet.parent.current.version)
    for rank, node in enumerate(fleet.nodes):
        fleet.parent.assign_rank(node.name, rank, node.workers)
    return timer


def test_a_round_takes_the_busiest_worker_of_all_children(fleets: list[Fleet]) -> None:
    """Children of two workers and of one, in threads."""
    fleet = Fleet(DISCRETE, A3C(t_max=T), [2, 1], B)
    fleets.append(fleet)
    timer = timed(fleet)
    seconds = dict(zip(SHARDS, (1.0, 2.0, 1.5), strict=True))
    for node in fleet.nodes:
        node.busy = {worker: Counted(seconds[name, worker]) for name, worker in SHARDS if name == node.name}
        node.side._busy = BusyChild(array(node.block, "part_numbers")[:, BUSY], lambda: 0.0)
    learn(fleet, played(DISCRETE, fleet.network(), 4))
    assert fleet.parent.current.version == 4
    # Each round: down, the busiest worker, up. The first answer, with all weights, has no bytes here.
    assert timer.seconds == pytest.approx(4 * (0.125 + 2.0 + 0.125 + 0.5) + 3 * 0.25, abs=0.01)


def test_a_child_tells_how_long_its_workers_were_busy_when_they_gave_their_parts(fleets: list[Fleet]) -> None:
    """And how long its own process was, without the time that it looked at what the workers do."""
    fleet, cpu = Fleet(DISCRETE, A3C(t_max=T), [2], B), Clock()
    fleets.append(fleet)
    side, block = fleet.nodes[0].side, fleet.nodes[0].block
    part, numbers = array(block, "part"), array(block, "part_numbers")
    side._busy = BusyChild(numbers[:, BUSY], cpu)
    side.joined()
    side.accept(fleet.parent.join("child0").message)
    part[:, NUMBER], part[:, KIND], numbers[:, BUSY] = block["round"][0] + 1, NOTHING, (2.0, 3.0)
    cpu.now += 0.5
    (upload,) = side.outgoing()
    assert upload.info["busy"] == pytest.approx(3.5, abs=0.01)


def parent_of(
    fleet: Fleet, cpu: Callable[[], float] = lambda: 0.0, **settings: Any
) -> tuple[GradientsParent, RoundTimer]:
    """As a run makes it, with two children; 250 bytes travel with each upload, and none with an answer."""
    timer, weights = RoundTimer(VirtualClock(LINK), cpu), flatten(fleet.network()).weights
    size = sum(each.numel() for each in fleet.network().parameters())
    facts = ParentFacts(fleet.run, fleet.spaces, weights, size, name="parent", children=2, timer=timer)
    parent = Gradients(**settings).parent(facts)
    sent = {"child0": 0, "child1": 0}

    def traffic(child: str) -> tuple[int, int]:
        sent[child] += 250
        return sent[child], 0

    timer.traffic = traffic
    return parent, timer


def upload(parent: GradientsParent, child: str, kind: int, number: int, busy: float) -> None:
    """The next part of a child, with ``busy``, its busy seconds until now."""
    arrays: dict[str, Array] = {
        GRADIENT: {"gradient": torch.zeros(parent._parameters)},
        SUMS: {"sums": torch.zeros(3, dtype=torch.float64)},
        NOTHING: {},
    }[kind]
    info: dict[str, Value] = {"kind": kind, "count": float(kind), "steps": 0, "rate": 0.0, "busy": busy}
    fields = Kind.UPLOAD, child, parent.term, parent.current.version, number + 1
    assert parent.answer(child, Message(*fields, arrays=arrays, info=info)) is not None


@pytest.mark.parametrize(("form", "seconds"), [("exact", 3 * 0.75), ("delayed", 2 * 0.75 + 0.5)])
def test_a_delayed_gradient_hides_the_link_and_a_sum_does_not(form: str, seconds: float, fleets: list[Fleet]) -> None:
    """A gradient, then a sum, then a gradient, of one child that computes for .25 before each; the link takes .5."""
    fleets.append(fleet := Fleet(DISCRETE, A3C(t_max=T), [1], B))
    parent, timer = parent_of(fleet, form=form)
    parent.join("child0")
    for number, kind in enumerate((GRADIENT, SUMS, GRADIENT)):
        upload(parent, "child0", kind, number, 0.25 * (number + 1))
    assert timer.seconds == pytest.approx(seconds)
    assert parent.current.updates == 2


@pytest.mark.parametrize("order", ["0001", "1000", "0100"])
def test_a_child_waits_for_its_own_asynchronous_gradient_only(order: str, fleets: list[Fleet]) -> None:
    fleets.append(fleet := Fleet(DISCRETE, A3C(t_max=T), [1], B))
    parent, timer = parent_of(fleet, form="asynchronous")
    each, count = {"child0": 0.5, "child1": 2.0}, {"child0": 0, "child1": 0}
    for child in each:
        parent.join(child)
    for child in (f"child{number}" for number in order):
        upload(parent, child, GRADIENT, count[child], each[child] * (count[child] + 1))
        count[child] += 1
    assert timer.seconds == pytest.approx(3 * (0.5 + 0.5))  # of child0; child1: 2 + .5
    assert parent.current.updates == 4


def test_an_asynchronous_child_counts_the_sums_of_its_own_workers(fleets: list[Fleet]) -> None:
    """They wait for each other there, without an upload."""
    fleets.append(fleet := Fleet(DISCRETE, PPO(t_max=T, epochs=1, num_minibatches=1), [2], B))
    block = fleet.nodes[0].block
    part, numbers = array(block, "part"), array(block, "part_numbers")
    side = AsynchronousChild(ChildFacts(block, "child0", fleet.run, fleet.spaces))
    side._busy = BusyChild(numbers[:, BUSY], lambda: 0.0)
    side.joined()
    side.accept(parent_of(fleet, form="asynchronous")[0].join("child0").message)
    for kind, seconds in ((SUMS, (1.0, 3.0)), (GRADIENT, (3.0, 4.0))):
        part[:, NUMBER], part[:, KIND], numbers[:, BUSY] = block["round"][0] + 1, kind, seconds
        messages = list(side.outgoing())
    assert messages[-1].info["busy"] == pytest.approx(3.0 + 2.0, abs=0.01)


def test_the_cpu_time_of_the_parent_comes_on_top(fleets: list[Fleet]) -> None:
    fleets.append(fleet := Fleet(DISCRETE, A3C(t_max=T), [1], B))
    parent, timer = parent_of(fleet, cpu := Clock())
    parent.join("child0")
    cpu.now += 0.25
    upload(parent, "child0", NOTHING, 0, 2.0)
    assert timer.seconds == pytest.approx(0.5 + 2.0 + 0.25)
