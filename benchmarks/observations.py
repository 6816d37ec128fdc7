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
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from clusters import SLEEPER, BenchParent, child_process, see_sleeper
from marl.config.files import load_config
from marl.config.settings import Config
from marl.data.requests import GROUPS
from marl.trust.keys import create_keys, key_path
from measure import busy_share, keep, machine, spread, table
from sleeper import steps_in
from slow_link import Proxy
from ways_to_act import make_parent, over_tls, own_network, same_process

TO_REACH = 0.9


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
