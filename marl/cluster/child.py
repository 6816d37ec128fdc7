"""A child: it listens, and serves one parent's run after another."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from marl.cluster.addresses import Address
from marl.cluster.contact import Candidate, Contact, in_words
from marl.cluster.fence import Fence
from marl.cluster.handshake import examine, read_hello, refuse
from marl.cluster.identities import LiveIdentity
from marl.errors import HandshakeRefused, LinkError, MarlError
from marl.links.websocket.link import WebSocketLink
from marl.links.websocket.loop import IOLoop
from marl.links.websocket.server import Server
from marl.processes.cores import count_cores
from marl.processes.signals import stop_event, stop_with_pipe, stop_with_stdin
from marl.processes.threads import one_thread
from marl.reports.events import Ended
from marl.reports.sinks.sink import Facts, Sink
from marl.reports.stream import Stream
from marl.trust.find_identity import child_identity, watched_file
from marl.trust.options import TrustOptions
from marl.wire.link import Link
from marl.words import Lines

READY = "listening on"  # the words that whoever starts a child waits for
LOOK_EVERY = 0.5  # seconds
ECHO_S = 60.0  # between two lines on a parent that is turned away again and again


@dataclass(frozen=True)
class ChildSettings:
    """What a child is told when it starts; everything else comes from its parent."""

    host: str = "127.0.0.1"
    port: int = 5050
    workers: int = 0  # 0: all cores but one, at least one
    orphan_s: float = 300.0  # seconds to train on alone when the parent is gone
    announce: bool = False  # on the local network, for discovery
    allow: tuple[str, ...] = ()  # modules from which a parent may name environments, algorithms, networks, samplers


def run_child(
    settings: ChildSettings,
    trust: TrustOptions,
    home: Path,
    sinks: Mapping[str, Sink],
    *,
    end: Connection | None = None,
    ready: Callable[[str], object] = lambda address: None,
) -> None:
    """Serve parents until a signal says stop.

    Args:
        sinks: where what happens is told.
        end: the child ends when the other side of this pipe is closed; None: when standard input is.
        ready: told where the child listens, once it does.

    Raises:
        MarlError: the child cannot listen, or may not.
    """
    events = Stream(sinks)
    with stop_event() as stopped, one_thread(), contextlib.closing(events):
        events.begin(Facts())
        if end is None:
            stop_with_stdin(stopped)  # it ends with the process that supervises this one
        else:
            stop_with_pipe(end, stopped)
        _Child(settings, trust, home, events, stopped).run(ready)


class _Child:
    """Listens, and serves whoever comes first; the others hear that it is busy."""

    def __init__(
        self, settings: ChildSettings, trust: TrustOptions, home: Path, events: Stream, stopped: threading.Event
    ) -> None:
        self._settings, self._events, self._stopped = settings, events, stopped
        self._host, self._port = settings.host, settings.port
        self._workers = settings.workers or max(1, count_cores() - 1)
        _, self._name = child_identity(trust, home, host=self._host, port=self._port)
        self._identity = LiveIdentity(
            lambda: child_identity(trust, home, host=self._host, port=self._port)[0],
            watched_file(trust, home, "child"),
            events.note,
        )
        self._say = Lines(events.note, burst=8, every_s=ECHO_S)
        self._fence = Fence(home, self._name)
        self._candidates: queue.Queue[Candidate] = queue.Queue()
        self._look_at = 0.0

    def run(self, ready: Callable[[str], object]) -> None:
        """Until stopped."""
        with (
            IOLoop() as io,
            Server(io, self._host, self._port, self._identity(), self._greet, self._events.note) as self._server,
        ):
            scheme = "ws" if self._identity() is None else "wss"
            address = Address(self._host, self._server.port)
            workers = f"{self._workers} worker{'s' * (self._workers > 1)}"
            with self._announced():
                self._events.note(f"child {self._name} {READY} {scheme}://{address} with {workers}")
                ready(str(address))
                while not self._stopped.is_set():
                    self._tend()
                    with contextlib.suppress(queue.Empty):
                        self._serve(self._candidates.get(timeout=0.1))

    def _announced(self) -> contextlib.AbstractContextManager[None]:
        if not self._settings.announce:
            return contextlib.nullcontext()
        from marl.links.discovery.discover import announced

        return announced(self._name, self._host, self._server.port)

    def _greet(self, link: WebSocketLink) -> None:
        """In a thread of its own for each parent: hear what it offers."""
        who = link.peer.node_id if link.peer else "a parent without a certificate"
        try:
            self._candidates.put(Candidate(link, read_hello(link), who))
        except HandshakeRefused as error:
            self._turn_away(link, error)
        except LinkError as error:
            self._say((who, "link"), f"{link.address}: {error}")
            link.close()

    def _serve(self, candidate: Candidate) -> None:
        try:
            offered = examine(candidate.hello, allow=self._settings.allow, workers=self._workers)
            self._fence.check(candidate.hello)
        except HandshakeRefused as error:
            return self._turn_away(candidate.link, error)
        self._events.note(
            f"{candidate.name} at {candidate.link.address} starts run {candidate.hello.run_id}: "
            f"{offered.config.environment.id}, {candidate.hello.num_bytes:,} bytes of weights"
        )
        contact = Contact(
            offered,
            candidate,
            name=self._name,
            workers=self._workers,
            orphan_s=self._settings.orphan_s,
            events=self._events,
            fence=self._fence,
            tend=self._tend,
            turn_away=self._turn_away,
        )
        try:
            reason = contact.serve(self._candidates, self._stopped)
        except HandshakeRefused as error:
            return self._turn_away(candidate.link, error)
        except Exception as error:  # a full disk or /dev/shm ends this run, not the child
            reason = in_words(error)
        finally:
            candidate.link.close()
        self._events.on(Ended(reason=reason))
        self._events.note(f"run {candidate.hello.run_id} is over here: {reason}")

    def _tend(self) -> None:
        """Now and then: has the key or ticket been replaced?"""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            identity = self._identity() if self._identity.poll() else None
            if identity is not None:
                self._server.set_identity(identity)

    def _turn_away(self, link: Link, error: HandshakeRefused) -> None:
        self._say("turned away", f"a parent is turned away: {error}")
        with contextlib.suppress(MarlError):
            refuse(link, error, name=self._name)
        link.close()
