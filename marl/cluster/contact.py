"""A child's part in one run: workers on a node, and one conversation with the parent at a time."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from marl import seeds
from marl.cluster.fence import Fence
from marl.cluster.handshake import Offer, accept
from marl.cluster.node import Node, is_worker
from marl.cluster.statistics import statistics_size
from marl.data.node.memory import STEPS, array
from marl.errors import HandshakeRefused, LinkError, MarlError
from marl.exchanges.base import ChildFacts
from marl.exchanges.conversation import report
from marl.exchanges.sides import Serving
from marl.log_throttle import LogThrottle
from marl.processes.group import ProcessGroup
from marl.reports.events import ChildStatus
from marl.reports.stream import Stream
from marl.wire.hello import Hello
from marl.wire.link import Link
from marl.wire.message import Kind, Message
from marl.words import printable

TICK = 0.05  # seconds between two looks at the workers
GRACEFUL_CLOSE_S = 5.0  # for a last upload on leaving


class Candidate(NamedTuple):
    """A parent that has connected, and what it offers."""

    link: Link
    hello: Hello
    name: str
    began: float  # time.monotonic() of this machine when the run's training time was 0, see ``Trainer.start``


class Contact:
    """Serves one run until the parent ends it, the parent is away for too long, or this child must stop."""

    def __init__(
        self,
        offered: Offer,
        candidate: Candidate,
        *,
        name: str,
        workers: int,
        orphan_s: float,
        events: Stream,
        fence: Fence,
        tend: Callable[[], None],
        turn_away: Callable[[Link, HandshakeRefused], None],
    ) -> None:
        """
        Args:
            orphan_s: seconds to train on without a parent.
            fence: knows which parents are too old.
            tend: called in every loop; does the child's own regular checks.
            turn_away: refuses a parent, and shows the reason to the parent and to the user here.
        """
        self._offered, self._name, self._workers, self._orphan_s = offered, name, workers, orphan_s
        self._events, self._candidate = events, candidate
        self._fence, self._tend, self._turn_away = fence, tend, turn_away
        self._leaving = threading.Event()
        self._trouble = ""  # why this child cannot go on
        self._say = LogThrottle(events.note, burst=5)  # lines that the parent can cause, limited in number

    def serve(self, candidates: "queue.Queue[Candidate]", stopped: threading.Event) -> str:
        """Train until the run is over for this child. Returns the reason, in words.

        Raises:
            HandshakeRefused: there is no room here for what the run needs.
            WorkerFailed: workers kept dying.
        """
        with ProcessGroup() as group:
            try:
                self._prepare(group)
            except Exception as error:  # memory that is too small, a disk that is full
                raise HandshakeRefused(
                    printable(f"the child cannot take part: {in_words(error)}"), permanent=isinstance(error, MarlError)
                ) from error
            self._conversation = self._converse(self._candidate)
            try:
                return self._watch(group, candidates, stopped)
            except Exception as error:
                self._trouble = in_words(error)
                self._close_gracefully()
                raise
            finally:
                self._node.stop()
                self._conversation.close()

    def _prepare(self, group: ProcessGroup) -> None:
        """The memory that workers share, and this child's side of the exchange."""
        config, hello = self._offered.config, self._offered.hello
        workers = self._offered.welcome.workers
        self._node = Node(
            config,
            self._offered.spaces,
            self._offered.network,
            self._offered.weights,
            group,
            workers,
            child=hello.rank,
            children=hello.children,
            alone=False,
        )
        self._node.count_from(self._candidate.began)
        if not config.deterministic:
            self._node.interval = seeds.first_interval(hello.term)
        facts = ChildFacts(
            self._node.block,
            name=self._name,
            run=config,
            spaces=self._offered.spaces,
            normalizes=bool(statistics_size(config, self._offered.spaces)),
            deterministic=config.deterministic,
            virtual=config.clock.virtual,
            restarts=lambda: self._node.restarts,
            note=lambda text: self._say("exchange", text),
        )
        self._side = config.exchange.child(facts)

    def _watch(self, group: ProcessGroup, candidates: "queue.Queue[Candidate]", stopped: threading.Event) -> str:
        playing, lost_at, shown_at, shown_steps, told_outside = False, None, time.monotonic(), 0, False
        while True:
            group.wait(TICK)
            self._tend()
            if stopped.is_set():
                self._close_gracefully()
                return "this child was told to stop"
            if self._side.started.is_set() and not playing:
                playing = True
                self._node.start()
            for name in self._node.check(self._events.note, lambda trace: self._events.note("", trace)):
                if is_worker(name):
                    self._node.restart(name)
            with contextlib.suppress(queue.Empty):
                while True:
                    candidate = candidates.get_nowait()
                    if not self._greet(candidate):
                        candidates.put(candidate)
                        return "its parent is back with another schedule, rank or checkpoint: starting again with that"
            if not self._conversation.over:
                lost_at = None
            elif self._conversation.finished:
                return "the parent has ended the run"
            elif not self._side.started.is_set():
                return f"its parent was gone before it had sent weights ({self._conversation.why})"
            elif lost_at is None:
                lost_at = time.monotonic()
                why, patience = self._conversation.why, f"{self._orphan_s:g} s"
                self._say(
                    "parent",
                    f"the parent is gone ({why}); waiting {patience} for it"
                    if self._offered.config.deterministic
                    else f"the parent is gone ({why}); training on alone for {patience}",
                )
            elif time.monotonic() - lost_at > self._orphan_s:
                return f"no parent for {self._orphan_s:g} s"
            now = time.monotonic()
            if now - shown_at >= 0.5:
                steps = int(array(self._node.block, "counters")[:, STEPS].sum())
                self._events.on(self._status((steps - shown_steps) / (now - shown_at), lost_at is not None))
                if not told_outside and (words := self._node.first_outside()):
                    told_outside = True
                    self._events.note(words)
                if lost_at is not None:
                    self._side.remember()
                shown_at, shown_steps = now, steps

    def _greet(self, candidate: Candidate) -> bool:
        """A further parent has connected. The parent of this run takes over the run; any other parent is refused.
        False if it offers another schedule or rank: workers read these only when they start. False too where a resumed
        parent wants the same bits: what was played since its checkpoint must not count.
        """
        mine, theirs = self._offered.hello, candidate.hello
        try:
            if theirs.run_id != mine.run_id:
                raise HandshakeRefused(
                    f"the child is busy with run {mine.run_id}: wait until it ends, or stop the child", permanent=False
                )
            if (theirs.fingerprint, theirs.exchange) != (mine.fingerprint, mine.exchange):
                raise HandshakeRefused(
                    f"run {mine.run_id} is trained here with other settings: start a new run instead of resuming it"
                )
            self._fence.check(theirs)
        except HandshakeRefused as error:
            self._turn_away(candidate.link, error)
            return True
        same = {"term": mine.term, "instance": mine.instance, "elapsed_s": mine.elapsed_s}
        if mine.deterministic:
            del same["term"]
        if msgspec.structs.replace(theirs, **same) != mine:
            return False
        self._conversation.close()
        self._offered = self._offered._replace(hello=theirs)
        self._node.count_from(candidate.began)
        self._conversation = self._converse(candidate)
        self._say("parent", f"the parent at {candidate.link.address} is back")
        return True

    def _converse(self, candidate: Candidate) -> "_Conversation":
        return _Conversation(candidate, self._side, self._offered, self._leaving, self._name, lambda: self._trouble)

    def _close_gracefully(self) -> None:
        self._side.flush_stragglers()  # first: the conversation closes as soon as it sees ``_leaving``
        self._leaving.set()
        self._conversation.join(GRACEFUL_CLOSE_S)

    def _status(self, steps_per_second: float, lost: bool) -> ChildStatus:
        link = self._conversation.link
        return ChildStatus(
            run=self._offered.hello.run_id,
            environment=self._offered.config.environment.id,
            version=self._side.version,
            steps_per_second=steps_per_second,
            return_mean=self._side.return_mean(),
            bytes_sent=link.bytes_sent,
            bytes_received=link.bytes_received,
            alone=lost,
        )


def in_words(error: Exception) -> str:
    """Why something went wrong, in one line."""
    text = str(error)
    return text if isinstance(error, MarlError) else f"{type(error).__name__}{': ' * bool(text)}{text}"


class _Conversation(threading.Thread):
    """Speaks to the parent over one link, in a thread of its own."""

    def __init__(
        self,
        candidate: Candidate,
        side: Serving,
        offered: Offer,
        leaving: threading.Event,
        name: str,
        trouble: Callable[[], str],
    ) -> None:
        super().__init__(name="conversation", daemon=True)
        self.link = candidate.link
        self.over = self.finished = False  # ended for any reason; ended because the parent ended the run
        self.why = ""
        self._side, self._offered, self._leaving, self._name_of_child = side, offered, leaving, name
        self._trouble = trouble
        self.start()

    def run(self) -> None:
        """Converse until the link breaks, or the parent says that the run is over."""
        try:
            accept(self.link, self._offered, name=self._name_of_child)
            self.finished = report(self.link, self._side, self._leaving, name=self._name_of_child, reason=self._trouble)
        except LinkError as error:
            self.why = str(error)
        except Exception as error:  # on any error the child trains on, and tells the parent the reason
            self.why = in_words(error)
            with contextlib.suppress(MarlError):
                word = {"trouble": self.why[:1000]}
                self.link.send(Message(Kind.STOP, self._name_of_child, info={**word}))
        finally:
            self._side.left()
            self.over = True
            self.link.close()

    def close(self) -> None:
        """End the conversation and wait for its thread."""
        self._side.leave()
        self.link.close()
        self.join()
