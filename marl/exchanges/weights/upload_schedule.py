"""When a child uploads: as ``exchange.every`` says, or as soon as the parent flushes stragglers."""

import threading
from collections.abc import Callable

import numpy as np

from marl.data.node.memory import finished_episodes
from marl.data.shared import SharedBlock
from marl.exchanges.triggers import parse_trigger


class Schedule:
    """Decides whether an upload is due. It is not asked while an upload is under way."""

    def __init__(self, every: str, block: SharedBlock, clock: Callable[[], float]) -> None:
        self._trigger, self._block, self._clock = parse_trigger(every), block, clock
        self._flush = threading.Event()
        self._last = self._next_try = clock()
        self._episodes = np.zeros(len(block["counters"]), np.int64)  # of each worker, when the last snapshot was taken

    def flush(self) -> None:
        """Make an upload due now; may be called from any thread."""
        self._flush.set()

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

    def is_put_off(self, now: float) -> bool:
        """Whether uploads are put off for now."""
        return now < self._next_try

    def begin(self, now: float) -> None:
        """An upload is being made."""
        self._flush.clear()
        self._last = now

    def snapshot_taken(self) -> None:
        """Episodes that are finished from now on count for the next upload."""
        self._episodes = finished_episodes(self._block)

    def put_off(self, until: float) -> None:
        """Let no upload be due before the time ``until``."""
        self._next_try = until
