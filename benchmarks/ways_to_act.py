"""Three ways to act in the same environments: with a network of the worker's own, with a parent in the same process,
and with a parent in another process over mutual TLS.
"""

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Queue
from typing import Any, cast

import torch
from torch import nn

from marl.acting.collect import Collector
from marl.acting.stepper import Stepper
from marl.algorithms.build import build_network
from marl.cluster.find_spaces import find_spaces
from marl.cluster.learner import LearnerNode
from marl.config.settings import Config
from marl.data.node.memory import node_memory
from marl.data.requests import GROUPS
from marl.data.shared import SharedBlock
from marl.environments.vector import Step, make_environments
from marl.exchanges.conversation import confer, converse, report
from marl.exchanges.observations.child import ObservationsChild
from marl.exchanges.observations.exchange import Observations
from marl.exchanges.observations.parent import ObservationsParent
from marl.links.websocket.client import connect
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.server import Server
from marl.processes.group import ProcessGroup
from marl.training.arrivals import Arrivals
from marl.training.flat import flatten
from marl.trust.identity import identity_from_keys
from marl.trust.keys import create_keys, load_keys

MAX_BYTES = 2**30


def own_network(config: Config, seconds: float) -> tuple[list[float], float]:
    """A collector in a process of its own."""
    return in_process(play_alone, config, seconds)


def play_alone(pipe: Connection, config: Config, seconds: float) -> None:
    torch.set_num_threads(1)
    environments = make_environments(config.environment, config.environment.per_worker)
    network = config.algorithm.build_network(environments.spaces, config.network, 1)
    collector = Collector(
        environments,
        length=config.algorithm.t_max,
        discount=config.algorithm.discount,
        reward_scale=1.0,
        generator=torch.Generator().manual_seed(1),
        seeds=list(range(environments.count)),
    )
    latencies, steps, started = [], 0, time.perf_counter()
    while (before := time.perf_counter()) - started < seconds:
        _, played = collector.collect(cast(Any, network), None, 0)
        passed = time.perf_counter() - before - played.seconds
        latencies.append(1000 * passed / config.algorithm.t_max)
        steps += played.steps
    pipe.send((latencies, steps / (time.perf_counter() - started)))


def in_process(target: Callable[..., None], *arguments: Any) -> Any:
    """What a process sends."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    answer = ours.recv()
    process.join(10)
    return answer


class Timed(Stepper):
    """Plays one group alone, and takes the time from its question to its answer."""

    latencies: list[float]

    def measure(self, seconds: float) -> list[float]:
        """Milliseconds."""
        self.latencies, ends = [], time.perf_counter() + seconds
        while time.perf_counter() < ends:
            self._turn = 0
            self.step(lambda: True)
        return self.latencies

    def _wait(self, counts: Any, go_on: Callable[[], bool]) -> bool:
        waited = super()._wait(counts, go_on)
        if hasattr(self, "latencies"):
            self.latencies.append(1000 * (time.perf_counter() - self._asked_at))
        return waited

    def _ask(self, group: int, step: Step, *, first: bool) -> None:
        super()._ask(group, step, first=first)
        self._asked_at = time.perf_counter()


def play_asking(pipe: Connection, config: Config, seconds: float, block: SharedBlock) -> None:
    """A worker: first latencies, then speed."""
    torch.set_num_threads(1)
    groups = [make_environments(config.environment, config.environment.per_worker // GROUPS) for _ in range(GROUPS)]
    seeds = [list(range(each.count)) for each in groups]
    stepper = Timed(groups, block, 0, Observations().requests(config, groups[0].spaces), seeds)
    stepper.measure(0.2)
    latencies = stepper.measure(seconds / 2)[1:]
    del stepper.latencies
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        played = stepper.step(lambda: True)
        steps += played.steps if played else 0
    pipe.send((latencies, steps / (time.perf_counter() - started)))


def make_parent(config: Config, stack: ExitStack) -> ObservationsParent:
    """A parent's half, and a thread that takes what it queues."""
    spaces = find_spaces(config)
    network = build_network(config.algorithm, spaces, config.network, config.seed or 0)
    weights = flatten(network).weights
    learner = LearnerNode(config, spaces, network, weights, ProcessGroup())  # its memory; the process is never started
    learner.published.publish(learner.block["weights"], 0)
    side = learner.parent_side(children=1, name="parent")
    arrivals = Arrivals(learner.block, learner.layout, batch=1, max_staleness=2**40, device=torch.device("cpu"))

    def forget() -> None:
        while arrivals.wait():
            pass

    thread = threading.Thread(target=forget, daemon=True)
    thread.start()

    def end() -> None:
        side.close()
        learner.stop()
        thread.join(5.0)

    stack.callback(end)
    assert isinstance(side, ObservationsParent)
    return side


def make_child(config: Config) -> tuple[SharedBlock, ObservationsChild]:
    """A node's memory, and a child's half over it."""
    spaces = find_spaces(config)
    more = config.exchange.memory(config, spaces, nn.Identity(), 1)
    block = node_memory(num_weights=1, num_parameters=1, observation_size=1, workers=1, more=more)
    return block, ObservationsChild(block, Observations().requests(config, spaces), name="child")


def same_process(config: Config, seconds: float) -> tuple[list[float], float]:
    """Both halves in one thread, as on one machine; the worker is a process."""
    with ExitStack() as stack:
        parent, over = make_parent(config, stack), threading.Event()
        block, child = make_child(config)
        thread = threading.Thread(target=confer, args=(child, parent, over), kwargs={"name": "child"}, daemon=True)
        thread.start()
        try:
            return in_process(play_asking, config, seconds, block)
        finally:
            over.set()
            thread.join(5.0)


def over_tls(config: Config, seconds: float) -> tuple[list[float], float]:
    """The parent is a process of its own."""
    context, over = multiprocessing.get_context("spawn"), threading.Event()
    with tempfile.TemporaryDirectory() as folder, IOLoop() as io:
        key = Path(folder) / "key"
        create_keys(key)
        block, child = make_child(config)
        came: Queue[WebSocketLink] = Queue()
        identity = identity_from_keys(load_keys(key), "child", "bench")
        with Server(io, "127.0.0.1", 0, identity, came.put, print) as server:
            ours, theirs = context.Pipe()
            process = context.Process(target=decide_for, args=(theirs, config, key, server.port), daemon=True)
            process.start()
            link = came.get(timeout=60)
        link.limit(MAX_BYTES)
        thread = threading.Thread(target=report, args=(link, child, over), kwargs={"name": "child"}, daemon=True)
        thread.start()
        try:
            return in_process(play_asking, config, seconds, block)
        finally:
            over.set()
            thread.join(5.0)
            ours.close()
            process.join(10.0)


def decide_for(pipe: Connection, config: Config, key: Path, port: int) -> None:
    """A parent of one child, until that sends STOP."""
    torch.set_num_threads(1)
    with ExitStack() as stack:
        side, io = make_parent(config, stack), stack.enter_context(IOLoop())
        link = connect(io, "127.0.0.1", port, identity_from_keys(load_keys(key), "parent", "bench"))
        link.limit(MAX_BYTES)
        converse(link, "child", side, threading.Event(), name="parent")
