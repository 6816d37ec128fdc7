"""What does it cost to have actions from a parent, and is a link's delay hidden?

    python benchmarks/observations.py

Three ways to act in the same environments take turns: a network of the worker's own (as with the weights exchange), a
parent in the same process (``marl train`` on one machine), and a parent in another process over mutual TLS. Latency is
from the moment at which one group's observations lie in the request slots to that at which the worker has its actions,
with nothing else going on; steps a second are those of two groups in turn. Nobody learns: what arrives is taken and
forgotten.

Then a real child whose environments sleep: the delay of the link, each way, is switched on and off in turns. Stepping
one group takes longer than the way there and back, so that nothing should be lost.
"""

import argparse
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

import numpy as np
import torch
from torch import nn

from clusters import SLEEPER, BenchParent, child_process, see_sleeper
from marl.acting.collect import Collector
from marl.acting.stepper import Stepper
from marl.algorithms.build import build_network
from marl.cluster.find_spaces import find_spaces
from marl.cluster.learner import LearnerNode
from marl.config.files import load_config
from marl.config.settings import Config
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
from marl.training.flat import flatten
from marl.training.node_memory import node_memory
from marl.training.trajectory_queue import Arrivals
from marl.trust.identity import identity_from_keys
from marl.trust.keys import create_keys, key_path, load_keys
from measure import busy_share, keep, machine, spread, table
from sleeper import steps_in
from slow_link import Proxy

TO_REACH = 0.9
MAX_BYTES = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--environments", type=int, nargs="*", default=[16, 128], help="of the worker")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds, each way")
    parser.add_argument(
        "--sleep", type=float, default=0.0035, help="seconds of each step of an environment that sleeps"
    )
    parser.add_argument("--turns", type=int, default=3, help="with the delay and without, each")
    parser.add_argument("--turn-seconds", type=float, default=8.0)
    options = parser.parse_args()
    busy = busy_share()
    found = {count: acting(options, count) for count in options.environments}
    rows = []
    for count, ways in found.items():
        for way, numbers in ways.items():
            latency = [f"{np.percentile(numbers['latency'], each):.2f}" for each in (50, 99)]
            against = np.median(numbers["rate"]) / np.median(ways["own network"]["rate"])
            rows.append(
                [f"{count} environments, {way}", *latency, spread(numbers["rate"], "{:,.0f}"), f"{against:.2f}x"]
            )
    print(f"\nOne worker, {options.env}; {busy:.0%} busy before.\n{machine()}\n")
    print(table(["", "ms to the actions, median", "p99", "steps/s", "against its own network"], rows))
    delayed = delay(options)
    ratios = [there / here for there, here in zip(delayed["with"], delayed["without"], strict=True)]
    group = delayed["environments"] // GROUPS
    rows = [
        ["steps/s without a delay", spread(delayed["without"], "{:,.0f}"), ""],
        [f"steps/s with {1000 * options.delay:g} ms each way", spread(delayed["with"], "{:,.0f}"), ""],
        ["ratio", spread(ratios, "{:.3f}"), f">= {TO_REACH:g}"],
    ]
    taken = 1000 * options.sleep * group
    print(f"\nA step of a group of {group} environments takes {taken:.0f} ms.\n")
    print(table(["", "measured", "to reach"], rows))
    record = {str(count): ways for count, ways in found.items()}
    keep("observations", {"arguments": vars(options), "acting": record, "delay": delayed, "busy_before": busy})


def settings(environment: str, count: int, **more: Any) -> Config:
    """Two layers of 64, and a queue that is never full for long."""
    chosen = {
        "seed": 1,
        "algorithm.name": "impala",
        "exchange.name": "observations",
        "exchange.queue": 64,
        "network.hidden": [64, 64],
        "environment.per_worker": count,
        "stop.steps": 10**9,
    }
    return load_config(environment, {**chosen, **more})


def acting(options: argparse.Namespace, count: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds to the actions, and steps a second, in turns."""
    config = settings(options.env, count)
    found: dict[str, dict[str, list[float]]] = {}
    ways = {"own network": own_network, "parent in the process": same_process, "parent over TLS": over_tls}
    for _ in range(options.repeats):
        for name, way in ways.items():
            latencies, rate = way(config, options.seconds)
            numbers = found.setdefault(name, {"latency": [], "rate": []})
            numbers["latency"] += latencies
            numbers["rate"].append(rate)
            print(f"{count} environments, {name}: {rate:,.0f} steps/s", flush=True)
    return found


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
        stepping = collector.step_seconds()
        collector.collect(cast(Any, network), None, 0)
        passed = time.perf_counter() - before - (collector.step_seconds() - stepping)
        latencies.append(1000 * passed / config.algorithm.t_max)
        steps += collector.num_steps()
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
        stepper.step(lambda: True)
        steps += stepper.num_steps()
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
    return block, ObservationsChild(block, name="child")


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


def delay(options: argparse.Namespace) -> dict[str, Any]:
    """Steps a second of a real child with the delay and without, in turns on one link."""
    see_sleeper()
    group = int(np.ceil(1.15 * 2 * options.delay / options.sleep))
    found: dict[str, Any] = {"with": [], "without": [], "environments": GROUPS * group}
    with ExitStack() as stack:
        counts = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marl-bench-")))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marl-bench-")))
        create_keys(key_path(home))
        _, address, _ = stack.enter_context(child_process(home, "-p", "0", "--workers", "1"))
        proxy = stack.enter_context(Proxy(address, options.delay, None))
        kwargs = {"environment.kwargs": {"sleep_s": options.sleep, "counts": str(counts)}}
        config = settings(SLEEPER, GROUPS * group, **kwargs)
        side = make_parent(config, stack)
        parent = stack.enter_context(BenchParent([proxy.address], {}, home, config=config, side=side))
        parent.wait_for(lambda: parent.num_training() == 1, 90.0, "the child")
        parent.wait_for(lambda: steps_in(counts) > 4 * group, 90.0, "the first steps")
        for _ in range(options.turns):
            for name, seconds in (("without", 0.0), ("with", options.delay)):
                proxy.delay_s = seconds
                settled = (
                    steps_in(counts) + 2 * GROUPS * group
                )  # until each group's question has travelled with this delay
                parent.wait_for(lambda settled=settled: steps_in(counts) > settled, 90.0, "the next steps")
                before, started = steps_in(counts), time.perf_counter()
                time.sleep(options.turn_seconds)  # the measurement itself
                found[name].append((steps_in(counts) - before) / (time.perf_counter() - started))
                print(f"{1000 * seconds:g} ms each way: {found[name][-1]:,.0f} steps/s", flush=True)
    return found


if __name__ == "__main__":
    main()
