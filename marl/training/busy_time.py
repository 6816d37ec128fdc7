"""How long a worker plays and learns, by a clock of its thread that stands still while the thread waits for a core.

So it counts what would pass if there were a core for every thread. Linux tells for each how long it could run and had
no core. What is left of the time that passed is computing, and sleeping: an environment that waits for something else
is not faster on more cores.
"""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from marl.data.node.memory import BUSY, array
from marl.data.shared import SharedBlock
from marl.errors import ConfigError

T = TypeVar("T")

SCHEDULED = Path("/proc/thread-self/schedstat")  # nanoseconds on a core, nanoseconds waiting for one, times scheduled


class OwnClock:
    """The clock of the thread that makes it; no other thread may ask for it."""

    def __init__(self) -> None:
        self._file = os.open(SCHEDULED, os.O_RDONLY)
        self._began = self._now()

    def seconds(self) -> float:
        """Seconds since the clock was made, without those that its thread waited for a core."""
        return self._now() - self._began

    def _now(self) -> float:
        waited = self._waited()
        while True:  # again if the thread lost its core between the readings of both clocks
            before, now, waited = waited, time.monotonic(), self._waited()
            if waited == before:
                return now - 1e-9 * waited

    def _waited(self) -> int:
        return int(os.pread(self._file, 80, 0).split()[1])

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


class BusyTime:
    """Counts from its making on, in the worker's row of the shared memory; made by the worker's only thread."""

    def __init__(self, block: SharedBlock, worker: int) -> None:
        self._row = array(block, "seconds")[worker]
        self._clock = OwnClock()
        self._since = 0.0

    def seconds(self) -> float:
        """Busy seconds until now, those of earlier processes of this worker included."""
        now = self._clock.seconds()
        self._row[BUSY] += now - self._since
        self._since = now
        return float(self._row[BUSY])

    def waits(self, wait: Callable[[], T]) -> T:
        """Wait for others. What passes meanwhile does not count."""
        self.seconds()
        found = wait()
        self._since = self._clock.seconds()
        return found

    def between(self, go_on: Callable[[], bool]) -> Callable[[], bool]:
        """The same question between two trajectories; the worker may wait for others in it."""
        return lambda: self.waits(go_on)


def demand_own_clock(scheduled: Path = SCHEDULED) -> None:
    """Refuse a system that does not count how long threads wait for a core.

    Raises:
        ConfigError: it does not.
    """
    try:
        counts = scheduled.read_text().split()[:1] not in ([], ["0"])  # zeros where the kernel is made without
    except OSError:
        counts = False
    if not counts:
        raise ConfigError(
            "clock.virtual = true needs Linux with /proc/thread-self/schedstat, which says how long a thread waits for "
            f"a core; this is {platform.system()} {platform.release()} without: leave it out"
        )
