"""Both loops over a link: what a child has learned reaches its parent before it leaves."""

import threading

import pytest
import torch

from marl.exchanges.child_reports import Report
from marl.exchanges.conversation import converse, report
from marl.exchanges.weights.parent import WeightsParent
from marl.links.memory import memory_pair
from tests.exchanges.nodes import Child, Clock, arrives, make_exchange, merged_count, weights

PATIENCE_S = 20.0


class Talk:
    """A child that converses with its parent, each half in a thread of its own."""

    def __init__(self, parent: WeightsParent, child: Child) -> None:
        self._child, self._stop = child, threading.Event()
        self.told_that_the_run_is_over: bool | None = None
        above, below = memory_pair()

        def serve() -> None:
            self.told_that_the_run_is_over = report(below, child.side, self._stop, name=child.name)

        self._threads = [
            threading.Thread(
                target=converse,
                args=(above, child.name, parent, threading.Event()),
                kwargs={"name": "parent"},
                daemon=True,
            ),
            threading.Thread(target=serve, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        assert child.side.started.wait(PATIENCE_S)

    def leave(self) -> None:
        """The child is told to stop, as its contact does it."""
        self._child.side.flush_stragglers()
        self._stop.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in self._threads)


@pytest.mark.parametrize("settings", [{}, {"codec": "int8"}, {"name": "pairwise", "alpha": 1.0}], ids=str)
def test_a_child_that_is_told_to_stop_sends_what_it_has(settings: dict[str, object], clock: Clock) -> None:
    """Long before the next upload would be due; its last episodes and steps are told first."""
    reports: list[Report] = []
    exchange = make_exchange(every="1000000 steps", **settings)
    hear = lambda child, heard: reports.append(heard)  # noqa: E731
    parent = exchange.parent_class()(weights(0.0), exchange, name="parent", hear=hear, clock=clock)
    child = Child("a", clock, every="1000000 steps", **settings)
    talk = Talk(parent, child)
    clock.now += 1
    child.learn(1.0, 10)
    talk.leave()
    talk.join()
    assert talk.told_that_the_run_is_over is False
    assert parent.current.steps == 10
    assert torch.allclose(parent.current.weights, weights(1.0), atol=1e-2)
    assert reports[-1].steps.sum() == 10
    assert not parent.members["a"].live


def test_the_last_upload_of_one_that_leaves_waits_for_the_round_of_those_who_stay(clock: Clock) -> None:
    exchange = make_exchange(every="1000000 steps")
    parent = WeightsParent(weights(0.0), exchange, name="parent", clock=clock)
    leaving, staying = (Child(name, clock, every="1000000 steps") for name in ("leaving", "staying"))
    staying.take(parent.join("staying"))
    talk = Talk(parent, leaving)
    clock.now += 1
    leaving.learn(1.0, 10)
    staying.learn(3.0, 10)
    talk.leave()
    merged_count(parent, 1)
    assert parent.current.version == 0
    staying.take(arrives(parent, staying.upload()))
    talk.join()
    assert parent.current.steps == 20
    assert torch.equal(parent.current.weights, weights(2.0))
