"""The machines that could take part, and the links to them, measured."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from marl.errors import LinkError, NoChildren
from marl.links.probe import LinkSpeed, probe, this_machine
from marl.wire.endpoint import Endpoint
from marl.wire.link import Link
from marl.words import listed, silent

NAME = "parent"
SILENT_S = 0.5  # seconds of waiting that need no word
REST_S = 2.0  # seconds for the others, once the first child has been measured


class Machine(NamedTuple):
    """One child, or this machine."""

    workers: int
    cores: float  # its share, where other children are on the same machine
    slowness: float = 1.0  # its time for the standard work, divided by this machine's
    round_trip: float = 0.0  # seconds
    bytes_per_second: float = float("inf")
    here: bool = False  # it shares this machine's cores


def machines_of(speeds: Sequence[LinkSpeed], work_seconds: float) -> list[Machine]:
    """The children by what was measured; those of one machine divide its cores by their workers.

    Args:
        work_seconds: of the standard work on this machine.
    """
    found = []
    for speed in speeds:
        beside = sum(each.workers for each in speeds if each.machine == speed.machine)
        here = speed.machine == this_machine()
        slowness = 1.0 if here else speed.work_seconds / work_seconds
        cores = speed.cores * speed.workers / beside
        found.append(Machine(speed.workers, cores, slowness, speed.round_trip, speed.bytes_per_second, here))
    return found


def machines_apart(workers: Sequence[int], delay_s: float, bytes_per_second: float) -> list[Machine]:
    """The children as virtual time has them: each with a machine and a link of its own.

    Args:
        workers: of each child.
        delay_s: of a link, one way.
        bytes_per_second: of a link.
    """
    return [Machine(each, each + 1, 1.0, 2 * delay_s, bytes_per_second) for each in workers]


class Probed:
    """See ``Endpoint``: measures its first link, in a thread of its own, and then is the endpoint that it was given."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.address = endpoint.address
        self.speed: LinkSpeed | None = None  # once it is measured
        self.met, self.why = False, ""  # whether there was a link; why there was none the last time
        self._over = threading.Event()
        self._lock = threading.Lock()  # guards _measured, and that no link becomes it once it is over
        self._measured: Link | None = None
        self._left: Link | None = None  # came too late to be measured
        self.asks = False  # whether an answer may still come
        self._thread = threading.Thread(target=self._ask, name=f"probe {self.address}", daemon=True)

    def begin(self, changed: threading.Event) -> None:
        """Meet and measure, again and again, until a child has answered.

        Args:
            changed: is set when no answer may come any more.
        """
        self.asks, self._changed = True, changed
        self._thread.start()

    def end(self) -> None:
        """Measure no more, also where a child has answered in part; from now on ``meet`` may be called."""
        with self._lock:
            self._over.set()
            link = self._measured
        if link is not None:
            link.close()

    def meet(self) -> Link:
        """See ``Endpoint``."""
        if self._thread.ident is not None:
            self._thread.join()
        if self._left is not None:
            link, self._left = self._left, None
            return link
        return self._endpoint.meet()

    def check(self) -> None:
        """See ``Endpoint``."""
        self._endpoint.check()

    def close(self) -> None:
        """See ``Endpoint``."""
        self.end()
        self._endpoint.close()

    def _ask(self) -> None:
        try:
            self._measure()
        finally:
            self.asks = False
            self._changed.set()

    def _measure(self) -> None:
        while not self._over.is_set() and self.speed is None:
            try:
                link = self._endpoint.meet()
            except LinkError as error:
                self.why = str(error)
                continue  # the endpoint paces itself
            except Exception as error:  # the run meets again, and says what is wrong
                self.why = str(error)
                return
            self.met = True
            with self._lock:
                if self._over.is_set():
                    self._left = link
                    return
                self._measured = link
            with contextlib.closing(link):
                try:
                    self.speed = probe(link, name=NAME)
                except LinkError:
                    continue  # it is busy, or has died and may be started again
                except Exception:  # an older version, or a link of a user's own
                    return


def measure_children(endpoints: Sequence[Probed], wait_s: float, say: Callable[[str], None]) -> list[LinkSpeed]:
    """Measure each child that answers in time; the others are left out, and the run says what is wrong with them.

    Args:
        wait_s: seconds for the first.
        say: tells the user that there is something to wait for.

    Raises:
        NoChildren: none was there in time. The run need not wait for them once more.
    """
    changed, until = threading.Event(), time.monotonic() + wait_s
    for each in endpoints:
        each.begin(changed)

    def is_measured() -> bool:
        return any(each.speed for each in endpoints)

    _wait(endpoints, changed, min(until, time.monotonic() + SILENT_S), is_measured)
    if not is_measured() and any(each.asks for each in endpoints):
        say(f"waiting up to {wait_s:g} s (--wait) for the first child, to measure it")
        _wait(endpoints, changed, until, is_measured)
    if is_measured():
        _wait(endpoints, changed, time.monotonic() + REST_S, lambda: False)
    nobody = any(each.asks for each in endpoints) and not any(each.met for each in endpoints)
    for each in endpoints:
        each.end()
    if nobody:
        reasons = listed(each.why or silent(each.address) for each in endpoints)
        raise NoChildren(f"no child took part within {wait_s:g} s (--wait): {reasons}")
    return [each.speed for each in endpoints if each.speed is not None]


def _wait(endpoints: Sequence[Probed], changed: threading.Event, until: float, enough: Callable[[], bool]) -> None:
    """Until no answer may come any more, there is enough, or time is up."""
    while any(each.asks for each in endpoints) and not enough():
        if not changed.wait(max(0.0, until - time.monotonic())):
            return
        changed.clear()
