"""Virtual time of rounds of gradients, with numbers that a person can work out."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from marl.algorithms.a3c import A3C
from marl.data.node.memory import array
from marl.exchanges.gradients.memory import BUSY, GRADIENT, KIND, NOTHING, NUMBER, SUMS
from marl.exchanges.virtual_time import BusyChild, RoundTimer, VirtualClock, VirtualLink
from marl.wire.message import Array, Kind, Message
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


def timed(fleet: Fleet, cpu: Callable[[], float] = lambda: 0.0) -> RoundTimer:
    """Give the fleet a parent with a timer. Every round has 500 bytes up and 250 down, the first none down."""
    timer = RoundTimer(VirtualClock(LINK, barrier=True), cpu)
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


@pytest.mark.parametrize(("form", "seconds"), [("exact", 3 * 0.75), ("delayed", 2 * 0.75 + 0.5)])
def test_a_delayed_gradient_hides_the_link_and_a_sum_does_not(form: str, seconds: float, fleets: list[Fleet]) -> None:
    """A gradient, then a sum, then a gradient, of one child that computes for .25 before each; the link takes .5."""
    fleet = Fleet(DISCRETE, A3C(t_max=T), [1], B, form=form)
    fleets.append(fleet)
    timer = timed(fleet)
    timer.traffic = lambda unused: (250 * (1 + fleet.parent.current.version), 0)
    fleet.parent.join("child0")
    for number, kind in enumerate((GRADIENT, SUMS, GRADIENT)):
        arrays: dict[str, Array] = (
            {"gradient": torch.zeros(fleet.parent._parameters)}
            if kind == GRADIENT
            else {"sums": torch.zeros(3, dtype=torch.float64)}
        )
        info = {"kind": kind, "count": 1.0, "steps": 0, "rate": 0.0, "busy": 0.25 * (number + 1)}
        upload = Message(Kind.UPLOAD, "child0", fleet.parent.term, number, number + 1, arrays, info)
        assert fleet.parent.answer("child0", upload) is not None
    assert timer.seconds == pytest.approx(seconds)
    assert fleet.parent.current.updates == 2


def test_the_cpu_time_of_the_parent_comes_on_top(fleets: list[Fleet]) -> None:
    fleet, cpu = Fleet(DISCRETE, A3C(t_max=T), [1], B), Clock()
    fleets.append(fleet)
    timer = timed(fleet, cpu)
    fleet.parent.join("child0")
    cpu.now += 0.25
    info = {"kind": NOTHING, "count": 0.0, "steps": 0, "busy": 2.0}
    fleet.parent.answer("child0", Message(Kind.UPLOAD, "child0", fleet.parent.term, 0, 1, {}, info))
    assert timer.seconds == pytest.approx(0.125 + 2.0 + 0.125 + 0.5 + 0.25)
