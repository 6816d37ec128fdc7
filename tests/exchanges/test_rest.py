"""Workers that rest: the contact asks all of them, or each rests by itself after the steps of a round."""

import threading
from collections.abc import Callable

import pytest

from marl.config.files import load_config
from marl.data.node.memory import STEPS, array, node_memory
from marl.exchanges.merging.rest import ASKED, OVER, Rest, WorkerRest, rest_fields
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
    workers = [WorkerRest(node.block, number, quota=20) for number in range(2)]
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


@pytest.mark.parametrize("asked", [True, False])
def test_a_worker_that_rests_can_be_told_to_stop(asked: bool) -> None:
    node = Node()
    worker = WorkerRest(node.block, 0, quota=20)
    if asked:
        next(node.rest.begin(lambda: 0))
    else:
        node.played(20)
    threads = running(worker)
    node.block["stop"].fill_(1)
    assert ended(threads)


@pytest.mark.parametrize("deterministic", [True, False])
def test_only_a_deterministic_worker_has_a_quota(deterministic: bool) -> None:
    class Process:
        run = load_config(None, {"deterministic": deterministic, "exchange.every": "20 steps"})
        block, number = Node().block, 1

        def learn(self, **given: Callable[[], None]) -> None:
            self.rest = given["rest"]

    process = Process()
    Weights(every="20 steps").work(process)  # type: ignore[arg-type]
    array(process.block, "counters")[1, STEPS] += 20
    process.block["stop"].fill_(1)
    process.rest()
    assert (array(process.block, "waiting")[1, 0] == 1) == deterministic


def test_other_exchanges_keep_no_such_fields() -> None:
    block = node_memory(num_weights=1, num_parameters=1, observation_size=1, workers=1)
    for name in ("pause", "waiting"):
        with pytest.raises(KeyError):
            block[name]
