"""Virtual time of a run on children: as if parent and children had machines of their own, with links of a given speed.

Every child has a clock. An answer leaves the parent at the virtual end of a round, and arrives after its way down the
link. With ``barrier`` workers wait for it and then play on; otherwise they play all the time, and the next upload is
made when they are ready and the answer is there. The round ends when the last of its uploads has come up the link, and
the parent has done its part:

    answered = end of the child's last round + way down
    uploaded = answered + busy                            with barrier
             = max(uploaded before + busy, answered)      without
    end      = max over children of (uploaded + way up) + the parent's CPU time

So without a barrier the way of one round, there and back, is hidden by the work for the next one. An exchange that has
rounds of both kinds says for each whether workers wait for its answer. Where uploads are not merged ``together``, each
has an end of its own, whatever other children do; but the parent can do no more than its CPU time allows.

Where children play for a learner, they play on while it learns, with the newest weights that have come; but no more
than K rounds are under way. The parent's process serves links beside the learner, which has a core of its own:

    uploaded = max(uploaded before, end of round - K + way down) + busy
    served   = max(served before, max over children of (uploaded + way up)) + the parent's CPU time
    end      = max(end before, served) + the learner's seconds
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.wire.message import Value

MOST_UNDER_WAY = 3  # rounds


class VirtualLink(NamedTuple):
    """What the bytes of one child travel on. No two children share one."""

    delay_s: float = 0.0  # one way
    bytes_per_second: float = float("inf")

    def way(self, num_bytes: int) -> float:
        """Seconds for a message of ``num_bytes``, one way."""
        return self.delay_s + num_bytes / self.bytes_per_second


class Used(NamedTuple):
    """What a child has used so far, since it or its link began."""

    busy: float = 0.0  # seconds
    up: int = 0  # bytes
    down: int = 0

    def since(self, before: "Used") -> "Used":
        """The difference to ``before``; a number that is smaller than before has started again at 0."""
        return Used(*(_new(now, old) for now, old in zip(self, before, strict=True)))


def _new(now: Any, old: Any) -> Any:
    return now if now < old else now - old


NOTHING = Used()


@dataclass
class _Child:
    ends: list[float]  # of its last rounds, in virtual time
    uploaded: float  # when its last upload was made
    waits: bool  # its workers wait for the answer to that one
    used: Used = NOTHING  # until that one


class VirtualClock:
    """Virtual seconds, round after round."""

    def __init__(
        self,
        link: VirtualLink,
        *,
        barrier: bool = False,
        together: bool = True,
        under_way: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """
        Args:
            barrier: whether workers wait for answers, where a round does not say; the exchange knows.
            together: whether all uploads of a round are answered at once; the exchange knows.
            under_way: where children play for a learner, how many rounds they may be ahead of it, at most
                ``MOST_UNDER_WAY``; else 0; the exchange knows.
            seconds: virtual time at which the clock begins.
        """
        self.seconds, self.barrier, self.together, self.under_way = seconds, barrier, together, under_way
        self._link, self._parent = link, seconds  # until when the parent was busy
        self._children: dict[str, _Child] = {}

    def join(self, child: str) -> None:
        """A child begins now; if it was there before, goes on from now."""
        before = self._children.get(child)
        used = NOTHING if before is None else before.used
        self._children[child] = _Child([self.seconds] * MOST_UNDER_WAY, self.seconds, self.barrier, used)

    def end_round(
        self, uploads: Mapping[str, Used], parent_s: float, learner_s: float = 0.0, *, waits: bool | None = None
    ) -> None:
        """A round has ended.

        Args:
            uploads: what each child in it had used when its upload was there.
            parent_s: CPU time of the parent since the round before; learner_s: seconds of its learner since then.
            waits: whether workers wait for its answer; None: as ``barrier`` says.
        """
        arrivals = {child: self._upload(self._children[child], used) for child, used in uploads.items()}
        self._parent = max([self._parent, *(arrivals.values() if self.under_way else ())]) + parent_s
        if self.under_way:
            end = max(self.seconds, self._parent) + learner_s
            ends = dict.fromkeys(uploads, end)
        elif self.together:
            end = max([self.seconds, *arrivals.values()]) + parent_s
            ends = dict.fromkeys(uploads, end)
        else:
            ends = {child: arrival + parent_s for child, arrival in arrivals.items()}
            end = max([self.seconds, self._parent, *ends.values()])
        self.seconds = end
        for child, ended in ends.items():
            each = self._children[child]
            each.ends = [*each.ends[1:], ended]
            each.waits = self.barrier if waits is None else waits

    def news_in(self, child: str, num_bytes: int) -> float:
        """How long the child will have been busy with its next round when a message of ``num_bytes`` is there that
        leaves now; 0 or less: it comes before, or the round after that one waits for it.
        """
        if self.under_way <= 2:
            return 0.0
        each, down = self._children[child], self._link.way(num_bytes)
        return each.ends[-1] + down - self._may_play(each, down)

    def _may_play(self, child: _Child, down: float) -> float:
        """When a child for a learner begins its next round."""
        return max(child.uploaded, child.ends[-self.under_way] + down)

    def _upload(self, child: _Child, used: Used) -> float:
        """When its upload arrives."""
        new, child.used = used.since(child.used), used
        down = self._link.way(new.down)
        if self.under_way:
            child.uploaded = self._may_play(child, down) + new.busy
        elif child.waits:
            child.uploaded = child.ends[-1] + down + new.busy
        else:
            child.uploaded = max(child.uploaded + new.busy, child.ends[-1] + down)
        return child.uploaded + self._link.way(new.up)


def serving_time() -> float:
    """CPU time of this process without its main thread, which only watches: while more processes than cores share a
    machine, there is more time to watch.
    """
    if not hasattr(time, "pthread_getcpuclockid"):  # where nobody counts virtual time either
        return time.process_time()
    main = threading.main_thread().ident
    assert main is not None
    return time.process_time() - time.clock_gettime(time.pthread_getcpuclockid(main))


class RoundTimer:
    """The parent's: collects for a ``VirtualClock`` what every round has used. Not locked."""

    def __init__(
        self,
        clock: VirtualClock,
        cpu: Callable[[], float] = serving_time,
        learner: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """
        Args:
            cpu: CPU time of this process that rounds wait for.
            learner: seconds that this machine's learner has learned for so far.
        """
        self.clock, self._cpu, self._learner = clock, cpu, learner
        self._began: float | None = None  # CPU time when the round began
        self._learned = 0.0  # seconds of the learner until then
        self._uploads: dict[str, Used] = {}
        self.traffic: Callable[[str], tuple[int, int]] = lambda child: (0, 0)  # bytes up and down of a child's link

    @property
    def seconds(self) -> float:
        """Virtual time when the last round ended."""
        return self.clock.seconds

    def join(self, child: str) -> None:
        """A child takes part from now on; time begins with the first."""
        if self._began is None:
            self._began, self._learned = self._cpu(), self._learner()
        self.clock.join(child)

    def upload(self, child: str, busy: object) -> None:
        """The child's upload is in the round; ``busy``: what it says of its seconds."""
        seconds = float(busy) if isinstance(busy, (int, float)) and 0 <= busy < float("inf") else 0.0
        self._uploads[child] = Used(seconds, *self.traffic(child))

    def looked(self, seconds: float) -> None:
        """This process has spent CPU time on looking whether the round is over: nothing waited for that."""
        self._began = None if self._began is None else self._began + seconds

    def end_round(self, *, waits: bool | None = None) -> None:
        """The round's uploads are merged; ``waits``: see ``VirtualClock``."""
        now, learned = self._cpu(), self._learner()
        parent_s = now - (now if self._began is None else self._began)
        self.clock.end_round(self._uploads, parent_s, learned - self._learned, waits=waits)
        self._began, self._learned, self._uploads = now, learned, {}


class BusyChild:
    """A child's: how long it was busy. Its workers play side by side, what its own process does comes on top."""

    def __init__(self, busy: npt.NDArray[Any], cpu: Callable[[], float] = serving_time) -> None:
        """
        Args:
            busy: seconds [M] that each worker was busy until what it has for the next upload.
            cpu: CPU time of this process that rounds wait for.
        """
        self._busy, self._cpu = busy, cpu
        self._before = np.zeros(len(self._busy))
        self._workers_s, self._began = 0.0, cpu()

    def looked(self, seconds: float) -> None:
        """This process has spent CPU time on looking whether its workers are ready: nothing waited for that."""
        self._began += seconds

    def waited(self) -> None:
        """All workers have waited for each other: until then, the busiest counts."""
        now = self._busy.copy()
        self._workers_s += float((now - self._before).max())
        self._before = now

    def told(self) -> dict[str, Value]:
        """What the next upload says: the seconds of the busiest worker before each upload, added up, and those of this
        process. Nothing if the workers do not count.
        """
        self.waited()
        return {"busy": self._workers_s + self._cpu() - self._began} if self._before.any() else {}
