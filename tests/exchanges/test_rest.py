"""Workers that rest: the contact asks all of them, or each rests by itself after the steps of a round."""

import threading
from collections.abc import Callable

import pytest

from marl.config.files import load_config
from marl.data.node.memory import SKIPPED, STEPS, UPDATES, array, node_memory
from marl.exchanges.merging.rest import ASKED, OVER, Rest, WorkerRest, rest_fields
from marl.exchanges.triggers import Trigger
from marl.exchanges.weights.exchange import Weights
from tests.exchanges.nodes import Clock

WAIT_S = 10.0


class Node:
    """The memory of two workers, each at the end of a trajectory."""

    def __init__(self) -> None:
        more = rest_fields(2)
        self.block = node_memory(num_weights=1, num_parameters=1, observation_size=1, workers=2, more=more)
        self.rest = Rest(self.block, Clock())
        self.pause = array(self.block, "pause")

    def played(self, steps: int) -> None:
        array(self.block, "counters")[:, STEPS] += steps

    def learned(self, updates: int, skipped: int = 0) -> None:
        counters = array(self.block, "counters")
        counters[:, UPDATES] += updates
        counters[:, SKIPPED] += skipped

    def resting(self, threads: list[threading.Thread]) -> bool:
        """Wait until all workers rest by themselves; False if they do not."""
        while not self.rest.is_complete() and any(each.is_alive() for each in threads):
            threads[0].join(0.001)
        return self.rest.is_complete()


def running(*targets: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    return threads


def ended(threads: list[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(WAIT_S)
    return not any(thread.is_alive() for thread in threads)


def test_whoever_is_asked_rests_until_all_may_play_on() -> None:
    node = Node()
    workers = [WorkerRest(node.block, number) for number in range(2)]
    for worker in workers:
        worker()  # nobody has asked
    asking = node.rest.begin(lambda: 0)
    next(asking)
    threads = running(*workers)
    assert all(asking)  # ends when both rest
    assert node.rest.is_complete()
    assert all(thread.is_alive() for thread in threads)
    node.rest.end()
    assert ended(threads)
    assert not node.rest.is_complete()


def test_a_worker_with_a_quota_rests_by_itself_each_time() -> None:
    node = Node()
    node.rest.hold()
    workers = [WorkerRest(node.block, number, Trigger(20, "step")) for number in range(2)]
    for round_ in (1, 2):
        node.played(10)
        for worker in workers:
            worker()  # half of it is played
        node.played(10)
        threads = running(*workers)
        while not node.rest.is_complete():
            threads[0].join(0.001)
        assert node.pause.tolist() == [round_ - 1, round_ - 1]  # asked by nobody
        next(node.rest.begin(lambda: 0), None)
        assert node.pause[ASKED] == node.pause[OVER] + 1
        node.rest.end()
        assert ended(threads)


def test_a_worker_rests_after_its_updates_also_those_that_were_skipped() -> None:
    node = Node()
    node.rest.hold()
    workers = [WorkerRest(node.block, number, Trigger(3, "update")) for number in range(2)]
    for _ in range(2):
        node.learned(2)
        node.played(1)
        for worker in workers:
            worker()  # one is missing
        node.learned(0, skipped=1)
        threads = running(*workers)
        assert node.resting(threads)
        next(node.rest.begin(lambda: 0), None)
        node.rest.end()
        assert ended(threads)
    node.learned(9)
    for worker in workers:
        worker()  # no step: an upload would count nothing


def test_where_nobody_listens_no_worker_rests_by_itself() -> None:
    node = Node()
    workers = [WorkerRest(node.block, number, Trigger(3, "update")) for number in range(2)]

    def rest() -> list[threading.Thread]:
        node.learned(3)
        node.played(1)
        return running(*workers)

    assert ended(rest())  # the child has not begun to listen
    node.rest.hold()
    threads = rest()
    assert node.resting(threads)
    node.rest.let_go()  # its link has broken
    assert ended(threads)
    assert not node.rest.is_complete()
    assert ended(rest())
    node.rest.hold()
    threads = rest()
    assert node.resting(threads)
    next(node.rest.begin(lambda: 0), None)
    node.rest.end()
    assert ended(threads)


@pytest.mark.parametrize("asked", [True, False])
def test_a_worker_that_rests_can_be_told_to_stop(asked: bool) -> None:
    node = Node()
    worker = WorkerRest(node.block, 0, Trigger(20, "step"))
    node.rest.hold()
    if asked:
        next(node.rest.begin(lambda: 0))
    else:
        node.played(20)
    threads = running(worker)
    node.block["stop"].fill_(1)
    assert ended(threads)


@pytest.mark.parametrize(
    ("every", "deterministic", "barrier", "rests"),
    [
        ("20 steps", True, False, True),
        ("20 steps", False, False, False),
        ("20 steps", False, True, False),  # the contact asks, between two trajectories
        ("20 updates", True, False, True),
        ("20 updates", False, False, False),
        ("20 updates", False, True, True),
    ],
)
def test_which_workers_have_a_quota(every: str, deterministic: bool, barrier: bool, rests: bool) -> None:
    node = Node()

    class Process:
        run = load_config(None, {"algorithm.name": "ppo", "deterministic": deterministic, "exchange.every": every})
        block, number = node.block, 1

        def learn(self, *, rest: Callable[[], None], updates: int) -> None:
            self.rest, self.updates = rest, updates

    process = Process()
    Weights(every=every, barrier=barrier).work(process)  # type: ignore[arg-type]
    assert process.updates == (process.run.algorithm.batches_per_trajectory() if "update" in every else 0)
    node.rest.hold()
    node.played(20)
    node.learned(20)
    process.block["stop"].fill_(1)
    process.rest()
    assert (array(process.block, "waiting")[1, 0] == 1) == rests


def test_other_exchanges_keep_no_such_fields() -> None:
    block = node_memory(num_weights=1, num_parameters=1, observation_size=1, workers=1)
    for name in ("pause", "waiting", "holds"):
        with pytest.raises(KeyError):
            block[name]
