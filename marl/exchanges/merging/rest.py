"""Workers that wait while weights travel: ``exchange.barrier``, and every run in deterministic mode."""

import math
import threading
import time
from collections.abc import Callable, Iterator

import torch

from marl.data.layout import Leaf, Tree
from marl.data.node.memory import STEPS, array
from marl.data.shared import SharedBlock
from marl.exchanges.member import STILL

ASKED, OVER = range(2)  # of "pause"


def rest_fields(workers: int) -> dict[str, Tree]:
    """What a node's memory needs."""
    return {
        "pause": Leaf((2,), torch.int64),  # number of the last pause asked for, and of the last one that is over
        "waiting": Leaf((workers, 8), torch.int64),  # number of the pause in which the worker stands still
    }


class WorkerRest:
    """A worker's side: called between trajectories, it waits while the contact asks for it."""

    def __init__(self, block: SharedBlock, worker: int, quota: float = math.inf) -> None:
        """``quota``: the worker rests by itself each time it has made this many environment steps."""
        self._stop, self._pause, self._waiting = (array(block, name) for name in ("stop", "pause", "waiting"))
        self._steps, self._worker, self._quota = array(block, "counters")[worker], worker, quota
        self._begin = int(self._steps[STEPS])

    def __call__(self) -> None:
        """Return when the worker may play on, or is to stop."""
        asked = int(self._pause[ASKED])
        if self._steps[STEPS] - self._begin >= self._quota:
            self._begin = int(self._steps[STEPS])
            asked = int(self._pause[OVER]) + 1
        if asked > self._pause[OVER]:
            self._waiting[self._worker, 0] = asked
            while asked > self._pause[OVER] and not self._stop[0]:
                time.sleep(0.0005)  # poll: a lock would stay locked if a worker were killed


class Rest:
    """The contact's side. Brings a node's workers to rest at the end of their trajectories, and lets them go on."""

    def __init__(self, block: SharedBlock, clock: Callable[[], float]) -> None:
        self._waiting, self._stop = array(block, "waiting")[:, 0], array(block, "stop")
        self._pause, self._clock = array(block, "pause"), clock
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

    def begin(self, work: Callable[[], int]) -> Iterator[bool]:
        """Wait until each worker has reached the end of its trajectory. A worker that died reaches it after a restart.

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
