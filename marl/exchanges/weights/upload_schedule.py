"""When a child uploads: as ``exchange.every`` says, or as soon as the parent flushes stragglers."""

import threading
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from marl.data.node.memory import SKIPPED, UPDATES, array, finished_episodes
from marl.data.shared import SharedBlock
from marl.exchanges.triggers import parse_trigger

LOOKS, POLL_S = 100, 5e-4  # while an upload is soon due; and seconds between two of them


class Schedule:
    """Decides whether an upload is due. It is not asked while an upload is under way."""

    def __init__(self, every: str, block: SharedBlock, clock: Callable[[], float]) -> None:
        self._trigger, self._block, self._clock = parse_trigger(every), block, clock
        self._flush = threading.Event()
        self._last = self._next_try = clock()
        self._counters = array(block, "counters")
        # Of each worker, when the last snapshot was taken.
        self._episodes = np.zeros(len(self._counters), np.int64)
        self._updates = np.zeros(len(self._counters), np.int64)

    def flush(self) -> None:
        """Make an upload due now; may be called from any thread."""
        self._flush.set()

    def becomes(self, is_due: Callable[[], bool], looked: Callable[[float], None]) -> bool:
        """Whether an upload is due. If it is to come after some updates, look again and again for a while: an update
        may take less than a millisecond.

        Args:
            looked: is told the CPU time that this took.
        """
        if self._trigger.unit != "update":
            return is_due()
        before, looks = time.thread_time(), LOOKS
        while not (due := is_due()) and (looks := looks - 1):
            time.sleep(POLL_S)  # poll: a lock would stay locked if a worker were killed
        looked(time.thread_time() - before)
        return due

    def is_due(self, now: float, work: int) -> bool:
        """Whether an upload is due.

        Args:
            work: environment steps since the last merged upload.
        """
        if self._flush.is_set():
            return True
        if not work:
            return False
        match self._trigger.unit:
            case "second":
                return now >= self._last + self._trigger.amount
            case "step":
                return work >= self._trigger.amount
            case "episode":
                return bool((finished_episodes(self._block) - self._episodes >= self._trigger.amount).all())
            case "update":
                return bool((self._updates_now() - self._updates >= self._trigger.amount).all())

    def _updates_now(self) -> npt.NDArray[np.int64]:
        """How many updates each worker has made, or skipped because its gradient was not finite [M]."""
        made: npt.NDArray[np.int64] = self._counters[:, UPDATES] + self._counters[:, SKIPPED]
        return made

    def is_put_off(self, now: float) -> bool:
        """Whether uploads are put off for now."""
        return now < self._next_try

    def begin(self, now: float) -> None:
        """An upload is being made."""
        self._flush.clear()
        self._last = now

    def snapshot_taken(self) -> None:
        """Episodes and updates that are finished from now on count for the next upload."""
        self._episodes, self._updates = finished_episodes(self._block), self._updates_now()

    def put_off(self, until: float) -> None:
        """Let no upload be due before the time ``until``."""
        self._next_try = until
