"""The children of a run at its parent: one thread per child, their reports, revoked children, missing children."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from marl.cluster.fleets.fleet import Fleet
from marl.cluster.handshake import make_hello, payload_of
from marl.cluster.trainers.caller import Caller, Plan, Registry
from marl.cluster.trainers.child_metrics import ChildrenMetrics
from marl.cluster.trainers.leader import Leader
from marl.cluster.trainers.trainer import NO_SHARES, Counts, Episodes, Given
from marl.errors import NoChildren, Superseded
from marl.exchanges.sides import RunSide
from marl.reports.events import ChildRow
from marl.wire.endpoint import Endpoint
from marl.wire.hello import Welcome
from marl.words import listed, silent

NAME = "parent"
LOOK_EVERY = 0.5  # seconds between two checks of the fleet and of revocations
JOIN_S = 3.0  # for conversations to end


class Children:
    """See ``Players``."""

    local = False

    def __init__(
        self,
        given: Given,
        side: RunSide,
        metrics: ChildrenMetrics,
        fleet: Fleet,
        endpoints: Sequence[Endpoint],
        *,
        wait_s: float,
    ) -> None:
        """
        Args:
            metrics: adds up what the children report; the exchange passes it the reports.
            endpoints: of the children that the ``fleet`` has brought.
            wait_s: seconds for the first child.
        """
        config, events = given.config, given.events
        self._given, self._side, self._metrics, self._fleet = given, side, metrics, fleet
        self._wait_s = wait_s
        self._run_id = str(given.info.get("run_id") or f"{given.folder.path.name}-{secrets.token_hex(4)}")
        self._leader = Leader(given.folder)
        self._registry = Registry(given.info.get("instances"))
        hello = make_hello(
            config,
            given.spaces,
            given.network,
            run_id=self._run_id,
            term=side.term,
            instance=self._leader.instance,
            children=len(endpoints),
        )
        longest = payload_of(config, given.spaces, given.network)
        plan = Plan(hello, longest, side, NAME, events, metrics, self._elapsed)
        self._callers = [Caller(endpoint, rank, plan, self._registry) for rank, endpoint in enumerate(endpoints)]
        self._look_at = 0.0
        self._missing: list[str] = []

    def start(self, save: Callable[[], None], began: float) -> None:
        """See ``Players``."""
        self._began = began
        self._leader.take()
        if self._given.resumed is not None:
            save()  # the new term is on disk before any child hears of it: no two parents ever have the same
        self._started = time.monotonic()
        for caller in self._callers:
            caller.start()

    def _elapsed(self) -> float:
        """Seconds of training so far, for a child that joins now."""
        return time.monotonic() - self._began

    def stop(self) -> None:
        """See ``Players``."""
        for caller in self._callers:
            caller.stop()
        self._side.close()
        deadline = time.monotonic() + JOIN_S
        for caller in self._callers:
            if caller.is_alive():
                caller.join(max(0.0, deadline - time.monotonic()))
        self._metrics.close()

    def tend(self) -> None:
        """See ``Players``. Twice a second, check the fleet, and look for revoked and missing children."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        for line in self._fleet.tend():
            self._given.events.note(line)
        for caller in self._callers:
            caller.check()
        for caller in self._callers:
            if caller.superseded:
                raise Superseded(caller.why)
        if not self.leads():
            raise Superseded(f"another parent has gone on with {self._given.folder.path}: this one must stop")
        self._demand_children(now)

    def _demand_children(self, now: float) -> None:
        """Report missing children; give up if none has come in time, or if none can come."""
        nobody, deterministic = self.never_began(), self._given.config.deterministic
        if deterministic and not nobody:
            missing = [caller.address for caller in self._callers if caller.state != "training"]
            if missing and missing != self._missing:
                self._given.events.note(f"the run stands still until {', '.join(missing)} can go on")
            self._missing = missing
        alive = [caller.is_alive() for caller in self._callers]
        over = not (all(alive) if deterministic else any(alive))
        asking = any(caller.state == "asking" for caller in self._callers)
        if over or (nobody and not asking and now - self._started > self._wait_s):
            raise NoChildren(self._complaint(over))

    def _complaint(self, over: bool) -> str:
        callers = [caller for caller in self._callers if not (over and caller.is_alive())]
        told = listed(caller.why or silent(caller.address) for caller in callers)
        if len(callers) < len(self._callers):
            return f"a deterministic run cannot go on without one of its children, and trying again cannot help: {told}"
        if over:
            return f"no child can take part in this run, and trying again cannot help: {told}"
        return f"no child took part within {self._wait_s:g} s (--wait): {told}"

    def leads(self) -> bool:
        """See ``Trainer``."""
        return not any(caller.superseded for caller in self._callers) and self._leader.holds()

    def never_began(self) -> bool:
        """See ``Trainer``."""
        return not any(caller.ever_in for caller in self._callers)

    def counts(self) -> Counts:
        """See ``Players``."""
        return self._metrics.counts([caller.node for caller in self._callers])

    def episodes(self) -> Episodes:
        """See ``Players``."""
        return self._metrics.episodes([caller.node for caller in self._callers])

    def info(self) -> dict[str, Any]:
        """See ``Players``."""
        return {"run_id": self._run_id, "instances": self._registry.instances(), "told": self._metrics.state()}

    def facts(self) -> dict[str, Any]:
        """See ``Players``. The hardware of a child is known once it has taken part."""
        return {"children": {caller.address: _machine(caller.welcome) for caller in self._callers}}

    def traffic(self, child: str) -> tuple[int, int]:
        """Bytes that came from a child and went to it, on its present link; from any thread."""
        for caller in self._callers:
            if caller.node == child and (link := caller.link) is not None:
                return link.bytes_received, link.bytes_sent
        return 0, 0

    def shares(self) -> npt.NDArray[Any]:
        """See ``Trainer``."""
        return NO_SHARES

    def rows(self) -> list[ChildRow] | None:
        """See ``Trainer``."""
        now = time.monotonic()
        return [self._row(caller, now) for caller in self._callers]

    def _row(self, caller: Caller, now: float) -> ChildRow:
        metrics = self._metrics.of(caller.node)
        member = self._side.members.get(caller.node or "")
        if caller.state != "training" or metrics is None or member is None or caller.link is None:
            return ChildRow(caller.address, caller.state)
        link = caller.link
        return ChildRow(
            address=caller.address,
            state="training",
            workers=None if caller.welcome is None else caller.welcome.workers,
            cores=None if caller.welcome is None else caller.welcome.cores,
            steps_per_second=metrics.steps_per_second(now),
            return_mean=metrics.return_mean(),
            version=member.version,
            answer_age=now - member.answered_at,
            bytes_per_second=metrics.bytes_per_second(link.bytes_sent + link.bytes_received, now),
            round_trip=link.round_trip,
        )


def _machine(welcome: Welcome | None) -> dict[str, Any] | None:
    return None if welcome is None else {**welcome.host, "workers": welcome.workers, "cores": welcome.cores}
