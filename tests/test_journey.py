"""An observation's whole journey in one process: to a gradient, to the shared weights, to the parent, and back."""

import threading
from multiprocessing import Pipe

import pytest
import torch

from marl.cluster.find_spaces import find_spaces
from marl.cluster.worker import Job, work
from marl.config.files import load_config
from marl.data.node.memory import STEPS, array, node_memory
from marl.exchanges.child_reports import Report, hear_all
from marl.exchanges.conversation import converse, report
from marl.exchanges.weights.child import WeightsChild
from marl.exchanges.weights.parent import WeightsParent
from marl.links.memory import memory_pair
from marl.training.flat import flatten

ROUNDS = 3


@pytest.mark.parametrize("settings", [{}, {"exchange.codec": "int8"}, {"exchange.barrier": True}])
def test_from_an_observation_to_new_weights_and_back(settings: dict[str, object]) -> None:
    config = load_config(
        None, {"seed": 1, "environment.normalize_observations": True, "exchange.every": "500 steps", **settings}
    )
    spaces = find_spaces(config)
    network = config.algorithm.build_network(spaces, config.network, 1)
    weights = flatten(network).weights
    block = node_memory(
        num_weights=len(weights),
        num_parameters=len(weights),
        observation_size=spaces.observation_size,
        workers=1,
        more=config.exchange.memory(config, spaces, network, 1),
    )
    reports: list[Report] = []

    def hear(child: str, heard: Report) -> int:
        reports.append(heard)
        return hear_all(child, heard)

    parent = WeightsParent(
        weights,
        config.exchange,
        name="parent",
        observation_size=spaces.observation_size,
        hear=hear,
    )
    side = WeightsChild(block, config.exchange, name="child", normalizes=True)
    above, below = memory_pair()
    over = threading.Event()
    pipe, _ = Pipe()
    threads = [
        threading.Thread(target=converse, args=(above, "child", parent, over), kwargs={"name": "parent"}),
        threading.Thread(target=report, args=(below, side, threading.Event()), kwargs={"name": "child"}),
        threading.Thread(target=work, args=(pipe, Job(config, 0, 0, alone=False), block)),
    ]
    try:
        for thread in threads[:2]:
            thread.start()
        assert side.started.wait(30)
        threads[2].start()
        with parent._changed:
            assert parent._changed.wait_for(lambda: parent.current.version >= ROUNDS, 60)
    finally:
        over.set()
        parent.close()
        for thread in threads[:2]:
            thread.join(10)  # the parent has said that the run is over
        array(block, "stop")[0] = 1
        if threads[2].ident is not None:
            threads[2].join(10)
    assert not any(thread.is_alive() for thread in threads)

    assert parent.current.steps >= ROUNDS * 500
    assert parent.current.steps <= array(block, "counters")[0, STEPS]
    assert not torch.equal(parent.current.weights, weights)
    assert bool(parent.current.weights.isfinite().all())
    assert side.version >= ROUNDS - 1
    # The normaliser that is used is the parent's, and it has counted what was merged.
    assert parent.current.statistics is not None
    assert parent.current.steps <= parent.current.statistics[0] <= 1.2 * parent.current.steps  # resets are observed too
    assert reports
    assert any(len(each.returns) for each in reports)
