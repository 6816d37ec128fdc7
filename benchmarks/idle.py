"""Children that do no work, and the parent they converse with, over real encrypted links: what a round itself costs.

Everything between the two ends of a round is marl's own: links, conversations, the parent's half. Of the child's half
there are two kinds: "whole" is marl's own, without workers; "light" has the same messages, but no weights of its own,
so that hundreds fit into a process.
"""

import gc
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch

from idle_children import IdleChildren
from marl.exchanges.conversation import converse
from marl.exchanges.payload_size import max_payload
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.weights.parent import WeightsParent
from marl.links.websocket.client import connect
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.trust.identity import identity_from_keys
from marl.trust.keys import load_keys


class Rounds(NamedTuple):
    """What was measured."""

    seconds: list[float]  # of each round
    parent_cpu_s: float  # of all of them
    parent_threads: dict[str, float]  # of these, by group of threads
    children_cpu_s: float  # from their first answer on
    peak_mib: float  # of the parent
    lost: int


def measure_rounds(
    key: Path,
    *,
    num_children: int,
    num_weights: int,
    rounds: int,
    processes: int,
    kind: str = "whole",
    warm_up: int = 2,
    limit_s: float = 300.0,
    exchange: ExchangeSettings | None = None,
) -> Rounds:
    """Rounds back to back, after so many that do not count.

    Raises:
        SystemExit: they did not end in time, or a child broke.
    """
    exchange = exchange or ExchangeSettings(every="0.001 seconds")
    gc.collect()
    gc.freeze()  # as the command does once it has loaded its libraries
    torch.manual_seed(0)
    start = torch.randn(num_weights)
    stop, faults = threading.Event(), list[str]()
    with IdleChildren(key, num_children, processes, num_weights, exchange, kind) as children, IOLoop() as io:
        side = WeightsParent(start, exchange, name="parent", note=faults.append)
        identity = identity_from_keys(load_keys(key), "parent", "bench")
        # All at the door before the first round begins, else it would be a round of whoever was quick.
        with ThreadPoolExecutor(8) as pool:

            def call(port: int) -> WebSocketLink:
                return connect(io, "127.0.0.1", port, identity, timeout=30.0, silence=30.0)

            links = dict(zip(children.ports, pool.map(call, children.ports.values()), strict=True))

        def speak(name: str, link: WebSocketLink) -> None:
            try:
                converse(link, name, side, stop, name="parent")
            except Exception as error:
                if not stop.is_set():
                    faults.append(f"{name}: {type(error).__name__}: {error}")

        threads = []
        for name, link in links.items():
            link.limit(max_payload(4 * num_weights, 0))
            side.assign_rank(name, len(threads), 1)
            threads.append(threading.Thread(target=speak, args=(name, link), name=f"conversation {name}", daemon=True))
            threads[-1].start()
        try:
            # Looked at from outside: one more waiter on its lock would be part of what is measured.
            times = _watch(side, warm_up, rounds, limit_s, min(0.001, 1e-8 * num_weights))
        finally:
            stop.set()
            told = children.end()
            side.close()
            for link in links.values():
                link.close()
            for thread in threads:
                thread.join(5.0)
    faults += [fault for each in told for fault in each.faults]
    if times is None:
        raise SystemExit(f"{rounds} rounds did not end within {limit_s:.0f} s: {faults[:3]}")
    seconds, cpu, groups = times
    return Rounds(
        seconds=seconds,
        parent_cpu_s=cpu,
        parent_threads=groups,
        children_cpu_s=sum(each.cpu_s for each in told),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        lost=sum(each.lost for each in told),
    )


def _watch(
    side: WeightsParent, warm_up: int, rounds: int, limit_s: float, pause: float
) -> tuple[list[float], float, dict[str, float]] | None:
    """How long each round after the first took, and what the parent's threads used from there on; None: too late.

    Args:
        pause: seconds between two looks; rounds that end in the same one share the time.
    """
    deadline = time.monotonic() + limit_s
    seconds: list[float] = []
    seen, began, cpu, groups = -1, 0.0, 0.0, dict[str, float]()
    while seen < warm_up + rounds:
        version = side.current.version
        if version == seen:
            if time.monotonic() > deadline:
                return None
            time.sleep(pause)  # a waiter that each version wakes would be part of what is measured
            continue
        now, passed = time.perf_counter(), version - seen
        if seen >= warm_up:
            seconds += [(now - began) / passed] * passed
        elif version >= warm_up:
            cpu, groups = time.process_time(), thread_seconds()
        seen, began = version, now
    after = thread_seconds()
    return seconds, time.process_time() - cpu, {name: after[name] - groups.get(name, 0.0) for name in after}


def thread_seconds() -> dict[str, float]:
    """Processor seconds of this process's living threads: the I/O loop's, the conversations', all others (Linux)."""
    found = {"I/O loop": 0.0, "conversations": 0.0, "others": 0.0}
    for thread in threading.enumerate():
        kind = (
            "I/O loop" if thread.name == "marl-io" else "conversations" if "conversation" in thread.name else "others"
        )
        try:
            waited = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()
        except OSError:
            continue
        found[kind] += int(waited[0]) / 1e9
    return found
