"""Processes of children are killed, and what a checker finds in everything that was written down meanwhile.

Each is tried a few times here, and as often as promised by ``make faults``, which sets MARL_FAULTS=1.
"""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.commands import FACTOR, named, until
from tests.faults.counts import SHARE, times
from tests.faults.runs import RUN, armed, demand_no_long_round, events
from tests.slow.cluster import child, parent, wait_for_rounds

BACK_S = 10.0 * FACTOR  # two rounds of those that nobody has set otherwise

pytestmark = [pytest.mark.usefixtures("marl_home"), pytest.mark.timeout(1800)]


@pytest.mark.slow
def test_workers_are_killed(tmp_path: Path, history: Path) -> None:
    """At any instruction: each is started again within 5 s, the rounds go on, and no child is lost (R1)."""
    chance = random.Random(1)
    with child(tmp_path, workers=2) as first, child(tmp_path) as second, parent(tmp_path, [first, second], *RUN) as run:
        run.wait("children 2/2")
        for _ in range(times(200, 12)):  # more than a run on one machine would forgive
            node = first if chance.random() < 0.9 else second
            victim = chance.choice(until(lambda node=node: named(node.process, "marl worker"), of=node.process))
            time.sleep(chance.uniform(0.0, 0.6))  # any moment of its life will do: nothing is waited for
            before = set(named(node.process, "marl worker"))
            os.kill(victim, signal.SIGKILL)
            until(lambda node=node, before=before: set(named(node.process, "marl worker")) - before, 5)
        wait_for_rounds(run, tmp_path)
        run.wait_for_children(2)
        assert not events(history, "left")
        assert run.end(signal.SIGINT) == 128 + signal.SIGINT


@pytest.mark.slow
def test_contacts_are_killed(tmp_path: Path, history: Path) -> None:
    """The child starts its contact again, under the same name, and is back within two rounds of 5 s (R2)."""
    with child(tmp_path) as first, child(tmp_path) as second, parent(tmp_path, [first, second], *RUN) as run:
        run.wait("children 2/2")
        for turn in range(times(20)):
            heard, killed_at = len(run.lines), time.monotonic()
            os.kill(second.contact, signal.SIGKILL)
            run.wait(f"^{second.address}: the child is in again", after=heard)
            (back,) = until(lambda killed_at=killed_at: events(history, "joined", after=killed_at))
            assert back["child"] == second.name
            pauses = 10.0 if turn else 5.0  # they grow with deaths in a row, to 5 s at either end
            assert back["time"] - killed_at <= BACK_S + pauses
        wait_for_rounds(run, tmp_path)
        assert run.end(signal.SIGINT) == 128 + signal.SIGINT


CHILD_POINTS = (
    *("child.sending.upload=kill@3", "child.sent.upload=kill@3", "child.snapshot=kill@3", "child.answer=kill@3"),
    *("child.applied=kill@3", "child.sending.telemetry=kill@3"),
    "child.welcoming=kill",  # passed once in a life: it never comes in
)


@pytest.mark.slow
@pytest.mark.parametrize("point", CHILD_POINTS if SHARE else CHILD_POINTS[:1])
def test_a_child_is_killed_at(point: str, tmp_path: Path, history: Path) -> None:
    """Over and over, at one place of the protocol: the other child loses no round, and none is a second longer (R3)."""
    with (
        child(tmp_path) as steady,
        armed(point),
        child(tmp_path) as faulty,
        parent(tmp_path, [steady, faulty], *RUN) as run,
    ):
        heard = 0
        for _ in range(times(5)):
            faulty.wait_for_error("killed by SIGKILL; it is started again", after=heard)
            heard = len(faulty.errors)
        wait_for_rounds(run, tmp_path)
        assert run.end(signal.SIGINT) == 128 + signal.SIGINT
    demand_no_long_round(history)
    came = {steady.name} if "welcoming" in point else {steady.name, faulty.name}
    assert {event["child"] for event in events(history, "joined")} == came
