"""Children that were let in and then say what is not true: real ones to their parent, but for what they upload."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from benchmarks.idle_children import LightChild
from marl.cluster.handshake import accept, examine, read_hello
from marl.errors import LinkError
from marl.exchanges.conversation import report
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.server import Server
from marl.trust.identity import identity_from_keys
from marl.trust.keys import key_path, load_keys
from marl.wire.message import Kind, Message

Lie = Callable[[Message], list[Message]]


class Liar(LightChild):
    """Uploads the parent's own weights, or what the lie makes of them; what it sends is written down."""

    def __init__(self, name: str, num_weights: int, lie: Lie, history: Path) -> None:
        weights = torch.zeros(num_weights)
        super().__init__(name, weights, weights)
        self._lie, self._file = lie, history / f"{name}.jsonl"

    def outgoing(self) -> Iterable[Message]:
        """See ``ChildSide``."""
        for message in super().outgoing():
            for told in self._lie(message) if message.kind is Kind.UPLOAD else [message]:
                if told.kind is Kind.UPLOAD:
                    self._write_down(told)
                yield told

    def rejected(self, reason: str) -> None:
        """See ``ChildSide``."""

    def _write_down(self, upload: Message) -> None:
        facts = {"child": self.name, "epoch": upload.term, "version": upload.version, "counter": upload.counter}
        line = {"event": "upload", "process": 0, "number": upload.counter, "time": time.monotonic(), **facts}
        with open(self._file, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@contextmanager
def liars(home: Path, history: Path, lies: dict[str, Lie]) -> Iterator[list[str]]:
    """Children with these names until the end of the block; their addresses."""
    ring, stop, threads = load_keys(key_path(home)), threading.Event(), list[threading.Thread]()

    def serve(name: str, lie: Lie) -> Callable[[WebSocketLink], None]:
        def speak(link: WebSocketLink) -> None:
            threads.append(threading.current_thread())
            with suppress(LinkError):
                hello = read_hello(link, name="child", workers=1)
                assert hello is not None
                offered = examine(hello, allow=(), workers=1)
                accept(link, offered, name=name)
                link.limit(2**40)  # it does not keep to what was agreed
                report(link, Liar(name, offered.welcome.num_bytes // 4, lie, history), stop, name=name)
            link.close()

        return speak

    with IOLoop() as io:
        servers = [
            Server(io, "127.0.0.1", 0, identity_from_keys(ring, "child", name), serve(name, lie), lambda line: None)
            for name, lie in lies.items()
        ]
        try:
            yield [f"127.0.0.1:{server.port}" for server in servers]
        finally:
            stop.set()
            for server in servers:
                server.close()
            for thread in threads:
                thread.join(10.0)
