"""Children that do no work, and the parent they converse with, over real encrypted links: what a round itself costs.

Everything between the two ends of a round is marl's own: links, conversations, the parent's half. Of the child's half
there are two kinds: "whole" is marl's own, without workers; "light" has the same messages, but no weights of its own,
so that hundreds fit into a process.
"""

import gc
import itertools
import multiprocessing
import resource
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from marl.exchanges.child_reports import EVERY
from marl.exchanges.conversation import converse, report
from marl.exchanges.payload_size import max_payload
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.sides import ChildSide
from marl.exchanges.weights.child import WeightsChild
from marl.exchanges.weights.parent import WeightsParent
from marl.links.websocket.client import connect
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.server import Server
from marl.training.node_memory import STEPS, array, node_memory
from marl.trust.identity import identity_from_keys
from marl.trust.keys import load_keys
from marl.wire.header import Header
from marl.wire.message import Kind, Message
from marl.wire.places import into, nowhere

WORK = 1000  # environment steps that each upload claims
START_S = 120.0


class WholeChild(WeightsChild):
    """The real child's half, over memory that no worker touches; the next upload is due with each answer."""

    def __init__(self, name: str, num_weights: int, exchange: ExchangeSettings) -> None:
        block = node_memory(num_weights=num_weights, num_parameters=1, observation_size=1, workers=1)
        super().__init__(block, exchange, name=name, normalizes=False)
        self._steps = array(block, "counters")[0]
        self.uploads = self.lost = 0

    def accept(self, message: Message) -> None:
        """See ``ChildSide``."""
        if message.kind is Kind.ANSWER and self._pending is not None:
            self.uploads += 1
            self.lost += message.info.get("merged") != self._pending.counter
        super().accept(message)
        self._steps[STEPS] += WORK
        self.flush_stragglers()


class LightChild:
    """See ``ChildSide``: uploads what all in this process share, into memory that all share come the answers.

    That is right as long as the parent sends the same bits to all, which is what its rounds are for.
    """

    def __init__(self, name: str, weights: torch.Tensor, landing: torch.Tensor) -> None:
        self.name = name
        self._weights, self._landing = weights, landing
        self._epoch = self._version = self._counter = 0
        self._due = self._awaits = False
        self._report_at = 0.0
        self.uploads = self.lost = 0

    def joined(self) -> None:
        """See ``ChildSide``."""

    def outgoing(self) -> Iterable[Message]:
        """See ``ChildSide``: reports and uploads, in the order of a real child."""
        now = time.monotonic()
        if self._due or now >= self._report_at:
            self._report_at = now + EVERY
            arrays = {
                "steps": torch.tensor([self._counter * WORK], dtype=torch.int64),
                "episodes": torch.zeros((0, 2), dtype=torch.float64),
            }
            yield Message(Kind.TELEMETRY, self.name, arrays=arrays, info={"updates": self._counter, "restarts": 0})
        if self._due:
            self._due, self._awaits = False, True
            self._counter += 1
            yield Message(
                Kind.UPLOAD,
                self.name,
                self._epoch,
                self._version,
                self._counter,
                {"weights": self._weights},
                {"work": WORK},
            )

    def pause(self) -> float:
        """See ``ChildSide``."""
        return max(0.001, self._report_at - time.monotonic())

    def place(self, header: Header) -> Mapping[str, memoryview]:
        """See ``ChildSide``."""
        if header.kind is not Kind.ANSWER or not header.manifest:
            return nowhere(header)
        return into({"weights": self._landing})(header)

    def accept(self, message: Message) -> None:
        """See ``ChildSide``."""
        if message.kind is not Kind.ANSWER:
            return
        if self._awaits:
            self.uploads += 1
            self.lost += message.info.get("merged") != self._counter
        self._epoch, self._version = message.epoch, message.version
        self._due, self._awaits = True, False

    def rejected(self, reason: str) -> None:
        """See ``ChildSide``."""
        raise RuntimeError(f"{self.name}: {reason}")


class Told(NamedTuple):
    """What a process of children says at its end."""

    uploads: list[int]  # of each child
    lost: int  # of these, not merged
    cpu_s: float  # since the first answer
    peak_mib: float
    faults: list[str]


def serve(
    pipe: Connection, key: Path, names: list[str], num_weights: int, exchange: ExchangeSettings, kind: str
) -> None:
    """A process of children, each a server with a port of its own, until the pipe says otherwise."""
    torch.set_num_threads(1)
    ring, stop, faults = load_keys(key), threading.Event(), list[str]()
    shared = torch.full((num_weights,), 0.5), torch.zeros(num_weights)
    sides: list[ChildSide] = [
        LightChild(name, *shared) if kind == "light" else WholeChild(name, num_weights, exchange) for name in names
    ]
    joined: list[float] = []

    def child(name: str, side: ChildSide) -> Server:
        def speak(link: WebSocketLink) -> None:
            joined.append(time.process_time())
            link.limit(max_payload(4 * num_weights, 0))
            try:
                report(link, side, stop, name=name)
            except Exception as error:
                faults.append(f"{name}: {type(error).__name__}: {error}")
            finally:
                link.close()

        return Server(io, "127.0.0.1", 0, identity_from_keys(ring, "child", name), speak, faults.append, silence=30.0)

    with IOLoop() as io:
        servers = [child(name, side) for name, side in zip(names, sides, strict=True)]
        pipe.send([server.port for server in servers])
        pipe.recv()
        told = Told(
            uploads=[side.uploads for side in sides],  # type: ignore[attr-defined]
            lost=sum(side.lost for side in sides),  # type: ignore[attr-defined]
            cpu_s=time.process_time() - min(joined, default=0.0),
            peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            faults=faults,
        )
        pipe.send(told)
        for server in servers:
            server.close()


class IdleChildren:
    """Processes of idle children on loopback."""

    def __init__(
        self, key: Path, num_children: int, processes: int, num_weights: int, exchange: ExchangeSettings, kind: str
    ) -> None:
        context = multiprocessing.get_context("spawn")
        names = [f"child-{number:03}" for number in range(num_children)]
        self._pipes, self._processes = [], []
        for first in range(processes):
            ours, theirs = context.Pipe()
            arguments = (theirs, key, names[first::processes], num_weights, exchange, kind)
            process = context.Process(target=serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self.ports: dict[str, int] = {}
        for first, pipe in enumerate(self._pipes):
            self.ports.update(zip(names[first::processes], _hear(pipe, START_S), strict=True))

    def end(self) -> list[Told]:
        """End them; what each process has to tell. May be called twice."""
        told = []
        for pipe in self._pipes:
            pipe.send("end")
            told.append(_hear(pipe, 30.0))
        self._pipes = []
        return told

    def __enter__(self) -> "IdleChildren":
        return self

    def __exit__(self, *unused: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(10.0)
            if process.is_alive():
                process.kill()
                process.join()


def _hear(pipe: Connection, seconds: float) -> Any:
    if not pipe.poll(seconds):
        raise SystemExit(f"a process of children said nothing for {seconds:.0f} s")
    return pipe.recv()


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
            times = _watch(side, warm_up, rounds, limit_s, faults)
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
    marks, cpu, groups = times
    return Rounds(
        seconds=[after - before for before, after in itertools.pairwise(marks)],
        parent_cpu_s=cpu,
        parent_threads=groups,
        children_cpu_s=sum(each.cpu_s for each in told),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        lost=sum(each.lost for each in told),
    )


def _watch(
    side: WeightsParent, warm_up: int, rounds: int, limit_s: float, faults: list[str]
) -> tuple[list[float], float, dict[str, float]] | None:
    """When each round after the first ended, and what the parent's threads used from there on; None: too late."""
    deadline = time.monotonic() + limit_s
    marks: list[float] = []
    seen, cpu, groups = -1, 0.0, dict[str, float]()
    while len(marks) <= rounds:
        version = side.current.version
        if version != seen:
            seen = version
            if version == warm_up:
                cpu, groups = time.process_time(), thread_seconds()
            if version >= warm_up:
                marks.append(time.perf_counter())
        elif time.monotonic() > deadline:
            return None
        else:
            time.sleep(0.001)  # looked at from outside: one more waiter on its lock would be part of what is measured
    after = thread_seconds()
    return marks, time.process_time() - cpu, {name: after[name] - groups.get(name, 0.0) for name in after}


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
