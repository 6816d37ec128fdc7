"""Children on this machine, for one run: forked from one process that has everything loaded, ended with the run."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from marl.cluster.addresses import Address, parse_addresses
from marl.cluster.fleets.cluster_settings import PORT
from marl.errors import ConfigError, LinkClosed
from marl.plugins import ANYTHING
from marl.processes.bootstrap import start_forkserver
from marl.processes.cores import count_cores
from marl.processes.ending import close_at_the_end
from marl.processes.group import Failure, ProcessGroup
from marl.processes.ports import free_port
from marl.processes.signals import remove_at_the_end
from marl.trust.options import TrustOptions

if TYPE_CHECKING:  # TLS and sockets, which a run imports when it needs them
    from marl.cluster.fleets.dialing import Dialing
    from marl.reports.sinks.sink import Sink
    from marl.wire.endpoint import Endpoint

ASSUMED = TrustOptions()
NO_SINKS: Mapping[str, Sink] = {}
HOST = "127.0.0.1"
READY_S = 60.0  # seconds until the first child listens: torch is imported meanwhile
READY_EACH_S = 2.0  # seconds more for each child
STOP_S = 10.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between the end of a child and its restart
LONG_LIFE_S = 30.0  # seconds; if a child has lived longer, its end is unrelated to the one before


class LocalFleet:
    """See ``Fleet``: processes that do what ``marl child`` does on loopback, with a key that nobody else has.

    with LocalFleet(2) as fleet:
        addresses = fleet.start()
    """

    def __init__(self, count: int, *, workers: int = 0, trust: TrustOptions = ASSUMED) -> None:
        """Begin to load what the children have in common; ``start`` starts them.

        Args:
            workers: of each child; 0: all cores but one, shared among them, at least one each.
            trust: the key or certificates of this parent.
        """
        self.home = Path(tempfile.gettempdir(), f"marl-local-{secrets.token_hex(8)}")
        remove_at_the_end(self._remove)  # first: a signal may come at any moment
        self._finalizer = weakref.finalize(self, remove_home, self.home)
        self.home.mkdir(mode=0o700)
        self._count, self._workers, self._trust = count, workers, trust
        self._dialing: Dialing | None = None
        self._group = ProcessGroup(patience=STOP_S, nested=True)
        self._addresses: dict[str, str] = {}  # of each process by its name; "" until it listens
        self._ends: dict[str, _Ends] = {}  # of each child that has ended
        start_forkserver("marl.cluster.worker", "marl.cluster.child")

    def __enter__(self) -> LocalFleet:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def open(self, workers: int, note: Callable[[str], None]) -> Sequence[Endpoint]:
        """See ``Fleet``."""
        from marl.cluster.fleets.dialing import Dialing

        self._dialing = Dialing(self.start(workers), self._trust, self.home, note)
        return self._dialing.endpoints

    def start(self, workers: int = 0) -> list[Address]:
        """Start the children. Returns the addresses where they listen.

        Args:
            workers: of each child, if the constructor was given none.

        Raises:
            LinkClosed: one does not listen.
        """
        self._workers = self._workers or workers or max(1, (count_cores() - 1) // self._count)
        for number in range(self._count):
            self._start(f"child {number}", 0)
        deadline = time.monotonic() + READY_S + READY_EACH_S * self._count
        return parse_addresses([self._wait(name, deadline) for name in self._addresses], PORT)

    def tend(self) -> list[str]:
        """See ``Fleet``. Children are restarted after growing pauses; each reason is reported once."""
        if self._dialing is not None:
            self._dialing.poll()
        now = time.monotonic()
        lines = [line for name, failure in self._group.check() if (line := self._ended(name, failure, now))]
        for name, ends in self._ends.items():
            if name not in self._group.members and now >= ends.start_at:
                self._start(name, int(self._addresses[name].rpartition(":")[2]))  # where the parent looks for it
        return lines

    def _ended(self, name: str, failure: Failure, now: float) -> str | None:
        """Set when an ended child is restarted. Returns a line for the user, or None for a reason already reported."""
        ends = self._ends.get(name)
        if ends is None or now - ends.start_at > LONG_LIFE_S:
            ends = self._ends[name] = _Ends()
        ends.start_at = now + ends.pause
        ends.pause = min(2 * ends.pause, LONGEST_PAUSE)
        if failure.text in ends.said:
            return None
        ends.said.add(failure.text)
        return f"the local child at {self._addresses[name]} ended ({failure.text}) and is started again"

    def close(self) -> None:
        """End all children at the same time. May be called twice."""
        if self._dialing is not None:
            self._dialing.close()
        self._ends.clear()
        self._group.close()
        self._finalizer()

    def _remove(self) -> None:
        remove_home(self.home)

    def _start(self, name: str, port: int) -> None:
        self._addresses.setdefault(name, "")
        self._group.start(name, serve, self.home, port, self._workers)

    def _wait(self, name: str, deadline: float) -> str:
        while time.monotonic() < deadline:
            address = self._group.receive(name, 0.1)
            if address:
                self._addresses[name] = str(address)
                return self._addresses[name]
            for failed, failure in self._group.check():
                raise LinkClosed(f"expected a local child to listen, {failed} ended: {failure.text}")
        raise LinkClosed(f"expected {name} of this machine to listen within {READY_S:.0f} s, it said nothing")


def serve(
    pipe: Connection, home: Path, port: int, workers: int, host: str = HOST, sinks: Mapping[str, Sink] = NO_SINKS
) -> None:
    """Run one child until the pipe closes; its address is sent once it listens.

    Args:
        port: 0: any that is free. Another program may take that before the child does; then it is another one.
        sinks: receive the events of the child. None on the parent's machine, where the parent shows what happens.
    """
    from marl.cluster.child import ChildSettings, run_child  # TLS and sockets, which the run imports later
    from marl.links.websocket.sockets import in_use

    close_at_the_end(_Left(home))
    os.environ["MARL_HOME"] = str(home)
    while True:
        # All modules are allowed: only this run's parent has the key, and it belongs to the same user.
        settings = ChildSettings(host=host, port=port or free_port(host), workers=workers, allow=(ANYTHING,))
        try:
            return run_child(settings, TrustOptions(), home, sinks, end=pipe, ready=pipe.send)
        except ConfigError as error:
            if port or not in_use(error):
                raise


class _Left:
    """The folder of the children, seen from one of them: nobody else removes what it writes once the parent is dead."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def close(self) -> None:
        parent = parent_process()
        if parent is not None and not parent.is_alive():
            remove_home(self._home)


def remove_home(home: Path) -> None:
    """Remove the folder, which holds the key of the children."""
    shutil.rmtree(home, ignore_errors=True)


class _Ends:
    """The recent ends of one child, which came soon after each other."""

    def __init__(self) -> None:
        self.pause = SHORTEST_PAUSE  # before the next restart
        self.start_at = 0.0
        self.said: set[str] = set()  # reasons
