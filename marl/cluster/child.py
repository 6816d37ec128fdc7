"""A child: it meets parents, and serves one run after another."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from marl.cluster.contact import Candidate, Contact, in_words
from marl.cluster.fence import Fence
from marl.cluster.handshake import examine, read_hello, refuse
from marl.cluster.listening import Listening
from marl.errors import HandshakeRefused, LinkError, MarlError
from marl.log_throttle import LogThrottle
from marl.processes.cores import count_cores
from marl.processes.signals import stop_event, stop_with_pipe, stop_with_stdin
from marl.processes.threads import one_thread
from marl.reports.events import Ended
from marl.reports.sinks.sink import Facts, Sink
from marl.reports.stream import Stream
from marl.trust.names import check_name
from marl.trust.options import TrustOptions
from marl.wire.endpoint import Endpoint
from marl.wire.link import Link

READY = "listening on"  # a program that starts children waits for these words
LOOK_EVERY = 0.5  # seconds
THROTTLE_S = 60.0  # seconds between two lines about a parent that is refused again and again


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
        sinks: receive the events of this child.
        end: the child ends when the other side of this pipe is closed; None: when standard input is closed.
        ready: called with the child's address once it listens.

    Raises:
        MarlError: the child cannot listen, or may not.
    """
    events = Stream(sinks)
    with stop_event() as stopped, one_thread(), contextlib.closing(events):
        events.begin(Facts())
        if end is None:
            stop_with_stdin(stopped)  # this child ends with the process that supervises it
        else:
            stop_with_pipe(end, stopped)
        with Listening(settings.host, settings.port, trust, home, events.note, announce=settings.announce) as listening:
            child = _Child(settings, listening.endpoint, listening.name, home, events, stopped, listening.poll)
            child.run(f"{READY} {listening.address}", lambda: ready(listening.endpoint.address))


def serve_parents(
    endpoint: Endpoint, settings: ChildSettings, name: str, home: Path, sinks: Mapping[str, Sink]
) -> None:
    """Like ``run_child``, but parents are met through the given ``endpoint``. Returns when a signal says stop.

    Args:
        name: of this child; no two of a run have the same.
        home: folder in which the child remembers the newest parent of each run.

    Raises:
        ConfigError: ``name`` is not a valid name.
        MarlError: no parent can be met.
    """
    check_name(name)
    events = Stream(sinks)
    with stop_event() as stopped, one_thread(), contextlib.closing(events), contextlib.closing(endpoint):
        events.begin(Facts())
        _Child(settings, endpoint, name, home, events, stopped).run(f"meets parents at {endpoint.address}")


class _Child:
    """Meets parents, and serves the first that comes; the others hear that it is busy."""

    def __init__(
        self,
        settings: ChildSettings,
        endpoint: Endpoint,
        name: str,
        home: Path,
        events: Stream,
        stopped: threading.Event,
        poll: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            poll: called every ``LOOK_EVERY`` seconds; looks for a changed key or ticket.
        """
        self._settings, self._endpoint, self._name = settings, endpoint, name
        self._events, self._stopped, self._poll = events, stopped, poll
        self._workers = settings.workers or max(1, count_cores() - 1)
        self._say = LogThrottle(events.note, burst=8, every_s=THROTTLE_S)
        self._fence = Fence(home, name)
        self._candidates: queue.Queue[Candidate] = queue.Queue()
        self._failure: MarlError | None = None  # of the endpoint; another attempt cannot help
        self._over = self._busy = False
        self._look_at = 0.0

    def run(self, where: str, ready: Callable[[], object] = lambda: None) -> None:
        """Serve parents until stopped.

        Args:
            where: where the child meets parents, for the first line of output.

        Raises:
            MarlError: no parent can be met.
        """
        workers = f"{self._workers} worker{'s' * (self._workers > 1)}"
        self._events.note(f"child {self._name} {where} with {workers}")
        ready()
        threading.Thread(target=self._meet, name="endpoint", daemon=True).start()  # it ends when the endpoint is closed
        try:
            while not self._stopped.is_set():
                self._tend()
                with contextlib.suppress(queue.Empty):
                    self._serve(self._candidates.get(timeout=0.1))
                if self._failure is not None:
                    raise self._failure
        finally:
            self._over = True

    def _meet(self) -> None:
        while not self._over and self._failure is None:
            try:
                link = self._endpoint.meet()
            except LinkError as error:
                if not self._over:
                    self._say("endpoint", str(error))
            except MarlError as error:
                self._failure = error
            except Exception as error:  # a user's own endpoint may raise anything
                self._failure = MarlError(f"{self._endpoint.address}: {in_words(error)}")
            else:
                threading.Thread(target=self._greet, args=(link,), name=f"link {link.address}", daemon=True).start()

    def _greet(self, link: Link) -> None:
        """Read what a parent offers; runs in a thread of its own for each parent."""
        who = link.peer or "a parent without a certificate"
        try:
            hello = read_hello(link, name=self._name, workers=self._workers, busy=lambda: self._busy)
            if hello is None:
                return link.close()
            self._candidates.put(Candidate(link, hello, who, began=time.monotonic() - (hello.elapsed_s or 0.0)))
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
        self._busy = True
        try:
            reason = contact.serve(self._candidates, self._stopped)
        except HandshakeRefused as error:
            return self._turn_away(candidate.link, error)
        except Exception as error:  # a full disk or /dev/shm ends this run, not the child
            reason = in_words(error)
        finally:
            self._busy = False
            candidate.link.close()
        self._events.on(Ended(reason=reason))
        self._events.note(f"run {candidate.hello.run_id} is over here: {reason}")

    def _tend(self) -> None:
        """Call ``poll`` every ``LOOK_EVERY`` seconds."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self._poll()

    def _turn_away(self, link: Link, error: HandshakeRefused) -> None:
        self._say("turned away", f"a parent is turned away: {error}")
        with contextlib.suppress(MarlError):
            refuse(link, error, name=self._name)
        link.close()
