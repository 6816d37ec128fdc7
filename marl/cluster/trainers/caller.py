"""The parent's thread for one child: meet, shake hands, converse, and meet again."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from marl.cluster.handshake import offer
from marl.cluster.trainers.child_metrics import ChildrenMetrics
from marl.errors import HandshakeRefused, LinkError, MarlError, TrustError
from marl.exchanges.conversation import converse
from marl.exchanges.sides import RunSide
from marl.log_throttle import LogThrottle
from marl.reports.events import ChildJoined, ChildLeft
from marl.reports.stream import Stream
from marl.wire.endpoint import Endpoint
from marl.wire.hello import Hello, Welcome
from marl.wire.link import Link

MOST_FAULTS = 5  # errors of this program with one child, after which the run leaves that child out
SOON_S = 60.0  # seconds within which they count together


class Plan(NamedTuple):
    """What all callers of a run share."""

    hello: Hello
    max_bytes: int  # of a payload
    side: RunSide
    name: str  # the parent's
    events: Stream  # gets the children that join and leave, with reasons
    metrics: ChildrenMetrics  # what children report, limited by the workers in their Welcome
    elapsed: Callable[[], float]  # seconds of training so far


class Registry:
    """The nodes that take part, so that a machine that is named twice takes part once."""

    def __init__(self, instances: Mapping[str, str] | None = None) -> None:
        """``instances``: those that the resumed parent knew."""
        self._lock = threading.Lock()  # guards _addresses and _instances
        self._addresses: dict[str, str] = {}
        self._instances = dict(instances or {})

    def enter(self, node: str, address: str) -> None:
        """Let a node in.

        Raises:
            HandshakeRefused: the node takes part already, at another address.
        """
        with self._lock:
            other = self._addresses.setdefault(node, address)
        if other != address:
            raise HandshakeRefused(f"{address} and {other} are the same child, {node}: name it once")

    def is_new(self, node: str, instance: str) -> bool:
        """Whether the child was restarted since it last took part, and has forgotten everything."""
        with self._lock:
            before = self._instances.get(node)
            self._instances[node] = instance
            return before is not None and before != instance

    def instances(self) -> dict[str, str]:
        """The instance of every node that has ever taken part."""
        with self._lock:
            return dict(self._instances)


class Caller(threading.Thread):
    """Keeps one child in the run for as long as that makes sense."""

    def __init__(self, endpoint: Endpoint, rank: int, plan: Plan, registry: Registry) -> None:
        super().__init__(name=f"child {endpoint.address}", daemon=True)
        self.address = endpoint.address
        self.state = "connecting"  # or "asking", "training", "no answer", "refused", "left"
        self.why = ""  # reason of this state, in one line
        self.node: str | None = None
        self.welcome: Welcome | None = None
        self.link: Link | None = None
        self.ever_in = False
        self.superseded = False  # another parent leads the run
        self._endpoint, self._rank, self._plan, self._registry = endpoint, rank, plan, registry
        self._lines = LogThrottle(plan.events.note, burst=6)
        self._ending = threading.Event()
        self._dropped: str | None = None
        self._faults = deque[float](maxlen=MOST_FAULTS)  # when they came

    def stop(self) -> None:
        """End the conversation; ``join`` waits for it."""
        self._ending.set()
        self._endpoint.close()
        if self.state == "asking" and self.link is not None:
            self.link.close()  # do not wait for its welcome, which may take a minute

    def check(self) -> None:
        """End the conversation for good if the child may no longer take part. Called about twice a second."""
        if self.state != "training" or self.link is None:
            return
        try:
            self._endpoint.check()
        except TrustError as error:
            self._dropped = str(error)
            self.link.close()

    def run(self) -> None:
        """Converse again and again, until stopped or until another attempt cannot help."""
        while not self._ending.is_set():
            try:
                self._converse()
                if not self._ending.is_set():
                    self._say("left", f"{self.address}: the child has left; asking it again")
            except LinkError as error:
                self._say("no answer", str(error))
            except HandshakeRefused as error:
                line = f"{self.address}: {error}"
                self.superseded = error.superseded
                if error.permanent:
                    return self._give_up(line)
                self._say("no answer", line)
            except MarlError as error:
                return self._give_up(str(error))
            except Exception as error:  # an error with one child must not end the run
                line = f"{self.address}: {type(error).__name__}: {error}"
                if self._is_hopeless():
                    return self._give_up(f"{line}; {MOST_FAULTS} times within {SOON_S:g} s: the child is left out")
                self._say("no answer", line)
            if self._dropped:
                return self._give_up(self._dropped)

    def _is_hopeless(self) -> bool:
        """Whether this error of the program has come too often: with a child that joins again at once, for ever."""
        self._faults.append(time.monotonic())
        return len(self._faults) == MOST_FAULTS and self._faults[-1] - self._faults[0] < SOON_S

    def _converse(self) -> None:
        plan = self._plan
        self.link = link = self._endpoint.meet()
        try:
            node = link.peer or self.address
            self._registry.enter(node, self.address)
            hello = msgspec.structs.replace(plan.hello, rank=self._rank, elapsed_s=plan.elapsed())
            self.state = "asking"  # the child may need long to import the environment
            self.welcome = offer(link, hello, plan.max_bytes, name=plan.name)
            plan.side.assign_rank(node, self._rank, self.welcome.workers)
            plan.metrics.assign(node, min(self.welcome.workers, self.welcome.cores))
            if self._registry.is_new(node, self.welcome.instance):
                plan.side.forget(node)
                plan.metrics.forget(node)
            if self.ever_in:
                self._lines("state", f"{self.address}: the child is in again")
            self.node, self.state, self.why, self.ever_in = node, "training", "", True
            plan.events.on(ChildJoined(address=self.address, node=node, workers=self.welcome.workers))
            converse(link, node, plan.side, self._ending, name=plan.name)
        finally:
            link.close()

    def _say(self, state: str, why: str) -> None:
        if self._ending.is_set():
            return
        if self.state == "training" or self.why != why:  # else the user has seen this reason already
            self._lines("state", why)
        self._leave(state, why)

    def _give_up(self, why: str) -> None:
        self._leave("refused", why)
        self._plan.events.note(why)

    def _leave(self, state: str, why: str) -> None:
        if self.state == "training" and self.node is not None:
            self._plan.events.on(ChildLeft(address=self.address, node=self.node, why=self._dropped or why))
        self.state, self.why = state, why
