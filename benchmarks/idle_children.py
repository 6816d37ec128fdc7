"""Processes of children that do no work: marl's own without workers, or light ones that fit into one by hundreds."""

import gc
import multiprocessing
import resource
import threading
import time
from collections.abc import Iterable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from marl.data.node.memory import STEPS, array, node_memory
from marl.exchanges.child_reports import EVERY
from marl.exchanges.conversation import report
from marl.exchanges.merging.rest import rest_fields
from marl.exchanges.payload_size import max_payload
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.sides import ChildSide
from marl.exchanges.weights.child import WeightsChild
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.server import Server
from marl.trust.identity import identity_from_keys
from marl.trust.keys import load_keys
from marl.wire.header import Header
from marl.wire.message import Kind, Message
from marl.wire.receive_buffers import buffers_of, no_buffers

WORK = 1000  # environment steps that each upload claims
START_S = 120.0


class WholeChild(WeightsChild):
    """The real child's half, over memory that no worker touches; the next upload is due with each answer."""

    def __init__(self, name: str, num_weights: int, exchange: ExchangeSettings) -> None:
        block = node_memory(
            num_weights=num_weights, num_parameters=1, observation_size=1, workers=1, more=rest_fields(1)
        )
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
        self._term = self._version = self._counter = 0
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
                self._term,
                self._version,
                self._counter,
                {"weights": self._weights},
                {"work": WORK},
            )

    def pause(self) -> float:
        """See ``ChildSide``."""
        return max(0.001, self._report_at - time.monotonic())

    def receive_buffers(self, header: Header) -> Mapping[str, memoryview]:
        """See ``ChildSide``."""
        if header.kind is not Kind.ANSWER or not header.manifest:
            return no_buffers(header)
        return buffers_of({"weights": self._landing})(header)

    def accept(self, message: Message) -> None:
        """See ``ChildSide``."""
        if message.kind is not Kind.ANSWER:
            return
        if self._awaits:
            self.uploads += 1
            self.lost += message.info.get("merged") != self._counter
        self._term, self._version = message.term, message.version
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
    gc.freeze()  # as a contact does
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
