"""Workers that wait while weights travel: ``exchange.barrier``, and every run in deterministic mode."""

import threading
import time
from collections.abc import Callable, Iterator

import torch

from marl.data.layout import Leaf, Tree
from marl.data.node.memory import SKIPPED, STEPS, UPDATES, array
from marl.data.shared import SharedBlock
from marl.exchanges.member import STILL
from marl.exchanges.triggers import Trigger

ASKED, OVER = range(2)  # of "pause"


def rest_fields(workers: int) -> dict[str, Tree]:
    """What a node's memory needs."""
    return {
        "pause": Leaf((2,), torch.int64),  # number of the last pause asked for, and of the last one that is over
        "holds": Leaf((1,), torch.int64),  # 1: workers that have a quota may rest by themselves
        "waiting": Leaf((workers, 8), torch.int64),  # number of the pause in which the worker stands still
    }


class WorkerRest:
    """A worker's side: called between trajectories, or between updates, it waits while the contact asks for it."""

    def __init__(self, block: SharedBlock, worker: int, quota: Trigger | None = None) -> None:
        """``quota``: the worker rests by itself each time it has made this many environment steps or updates."""
        self._stop, self._pause, self._waiting = (array(block, name) for name in ("stop", "pause", "waiting"))
        self._holds = array(block, "holds")
        self._counters, self._worker, self._quota = array(block, "counters")[worker], worker, quota
        self._begin = self._counters.copy()

    def __call__(self) -> None:
        """Return when the worker may go on, or is to stop."""
        by_itself = self._has_made_quota()
        asked = int(self._pause[OVER]) + 1 if by_itself else int(self._pause[ASKED])
        if asked <= self._pause[OVER]:
            return
        self._begin = self._counters.copy()
        self._waiting[self._worker, 0] = asked
        while asked > self._pause[OVER] and not self._stop[0]:
            if by_itself and not self._holds[0] and self._pause[ASKED] < asked:
                self._waiting[self._worker, 0] = 0
                break
            time.sleep(0.0005)  # poll: a lock would stay locked if a worker were killed

    def _has_made_quota(self) -> bool:
        if self._quota is None or not self._holds[0]:
            return False
        made = self._counters - self._begin
        if self._quota.unit == "step":
            return bool(made[STEPS] >= self._quota.amount)
        # Without a step there would be nothing to weigh the upload by.
        return bool(made[UPDATES] + made[SKIPPED] >= self._quota.amount and made[STEPS] > 0)


class Rest:
    """The contact's side. Brings a node's workers to rest where they can (see ``WorkerRest``), and lets them go on."""

    def __init__(self, block: SharedBlock, clock: Callable[[], float]) -> None:
        self._waiting, self._stop = array(block, "waiting")[:, 0], array(block, "stop")
        self._pause, self._holds, self._clock = array(block, "pause"), array(block, "holds"), clock
        self.broken = threading.Event()  # the conversation ends: stop waiting; set by any thread

    def is_asked(self) -> bool:
        """Whether workers were asked to rest, and not yet told to play on."""
        return bool(self._pause[ASKED] > self._pause[OVER])

    def ask(self) -> None:
        """Ask workers to rest, if they are not asked yet."""
        self._pause[ASKED] = self._pause[OVER] + 1

    def is_complete(self) -> bool:
        """Whether every worker rests: it was asked to, or it has made its steps of the round (deterministic mode)."""
        return bool((self._waiting > self._pause[OVER]).all())

    def hold(self) -> None:
        """From now on, workers that have a quota rest by themselves."""
        self._holds[0] = 1

    def begin(self, work: Callable[[], int]) -> Iterator[bool]:
        """Wait until each worker has come to where it can rest. A worker that died comes there after a restart.

        This is a generator, so that the caller can do other things meanwhile. It yields True as long as it waits. If
        no worker makes a step for ``STILL`` seconds, because an environment does not return, it yields False and ends.

        Args:
            work: environment steps so far.
        """
        self.ask()
        before, moved_at = work(), self._clock()
        while not (self._waiting == self._pause[ASKED]).all() and not self._stop[0] and not self.broken.is_set():
            time.sleep(0.0005)  # poll: a lock would stay locked if a worker died with it
            now, steps = self._clock(), work()
            moved_at, before = moved_at if steps == before else now, steps
            if now >= moved_at + STILL:
                yield False
                return
            yield True

    def end(self) -> None:
        """Workers play on."""
        self._pause[OVER] = self._pause[ASKED]

    def let_go(self) -> None:
        """All workers play on, also those that rest by themselves. None rests by itself until ``hold``."""
        self._holds[0] = 0
        self.ask()
        self.end()
