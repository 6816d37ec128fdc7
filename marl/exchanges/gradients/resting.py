"""What the parent hears of its children beside their parts: reports, counts, and that they rest (see ``rests.py``)."""

import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from marl.data.normalizer import RunningStatistics, from_row
from marl.errors import MessageRefused
from marl.exchanges.child_reports import Hear, acknowledge, report_every, report_of
from marl.exchanges.gradients.coding import Coding
from marl.exchanges.member import Member
from marl.exchanges.observation_statistics import SEEN_PER_STEP, Observed, Vetted
from marl.exchanges.sides import Answer, Global
from marl.log_throttle import LogThrottle
from marl.wire.message import Array, Kind, Message, Value, count_of, tensor_of

LONGEST_WAIT = 0.5  # seconds until a conversation checks again


class Told(NamedTuple):
    """What one message adds."""

    steps: int
    statistics: Vetted | None


class Counts:
    """Checks what children tell, and adds it up in the order of ranks: the same messages give the same bits."""

    def __init__(self, size: int, statistics: RunningStatistics | None, sample: RunningStatistics | None) -> None:
        """``size`` of an observation; 0: nothing is normalised. For the others see ``Observed``."""
        self.early = 0  # steps that were counted before an upload told them
        self._observed = Observed(size, statistics, sample) if size else None

    @property
    def statistics(self) -> Tensor | None:
        """Those of the normaliser."""
        return None if self._observed is None else self._observed.statistics

    def told_by(self, child: str, upload: Message, most: int) -> Told:
        """The steps, at most ``most``, and the statistics in an upload.

        Raises:
            WeightsRefused: the statistics cannot be.
        """
        vetted = None
        if self._observed is not None and "moments" in upload.arrays:
            vetted = self._observed.vet(child, tensor_of(upload, "moments"), 2.0 * SEEN_PER_STEP * most)
        return Told(min(count_of(upload, "steps"), most), vetted)

    def add(self, told: Mapping[str, Told], ranks: Mapping[str, int]) -> int:
        """Add the statistics to those of the normaliser. Returns the steps, without those that were counted early."""
        rows = []
        for child in sorted(told, key=lambda name: (ranks.get(name, 0), name)):
            vetted = told[child].statistics
            if self._observed is not None and vetted is not None:
                self._observed.remember(child, vetted)
                rows.append(vetted.row)
        if self._observed is not None:
            self._observed.fold(rows)
        steps = sum(each.steps for each in told.values())
        early = min(self.early, steps)
        self.early -= early
        return steps - early

    def begin_anew(self) -> None:
        """Check by what is seen from now on, as after a resume."""
        if self._observed is not None:
            row = self._observed.statistics.numpy()
            self._observed = Observed((len(row) - 1) // 2, from_row(row), None)


class Rests:
    """The parent's side. Not locked."""

    def __init__(self, children: int | None, *, version: int, steps: int, every: int, last: int | None) -> None:
        """
        Args:
            children: that every round and every rest waits for; None: not deterministic, there are no rests.
            version: of a resumed run, which begins with the rest that it was saved in; 0: a new run.
            every: environment steps of a checkpoint interval.
            last: steps after which the run ends.
        """
        self.children, self.interval = children, version
        self.asked = children is not None and version > 0
        self.told: dict[str, Told] = {}  # by the children that rest
        self._steps, self._every, self._last = steps, every, last
        self._released = False

    def ask_if_due(self, version: int, steps: int, rounds: int) -> bool:
        """Whether all children are to rest now.

        Args:
            rounds: of a trajectory.
        """
        if self.children is None or version % rounds:
            return False
        over = steps // self._every > self._steps // self._every
        self.asked = over or (self._last is not None and steps >= self._last)
        return self.asked

    def is_complete(self) -> bool:
        """Whether all children rest."""
        return self.asked and self.children is not None and len(self.told) >= self.children

    def release(self) -> None:
        """Let children go on when all rest."""
        self._released = self.asked

    def end_if_released(self, version: int, steps: int) -> bool:
        """Whether the rest is over: the next interval begins with this version and this number of steps."""
        if not self._released or not self.is_complete():
            return False
        self.interval, self._steps = version, steps
        self.asked = self._released = False
        self.told = {}
        return True


class Resting:
    """The part of the parent that hears its children, and brings them to rest. Private methods need the lock."""

    term: int
    current: Global
    members: dict[str, Member]
    _changed: threading.Condition  # guards everything
    _closed: bool
    _name: str
    _hear: Hear
    _tell: LogThrottle
    _clock: Callable[[], float]
    _deterministic: bool
    _ranks: dict[str, int]
    _workers: dict[str, int]
    _rests: Rests
    _coding: Coding
    _counts: Counts
    _trajectory: int  # most steps of a worker in one
    _unheard: set[str]  # children whose report the end of the run waits for
    _differing: set[str]  # children that have computed other weights
    _note: Callable[[str], None]

    def assign_rank(self, child: str, rank: int, workers: int) -> None:
        """See ``RunSide``."""
        with self._changed:
            self._ranks[child], self._workers[child] = rank, workers

    def forget(self, child: str) -> None:
        """See ``RunSide``."""
        with self._changed:
            if before := self.members.get(child):
                self.members[child] = before.started_anew()

    def patience(self, unused_child: str) -> float:
        """See ``ParentSide``."""
        return LONGEST_WAIT

    def late(self, unused_child: str) -> Answer | None:
        """See ``ParentSide``."""
        return None

    def _hear_report(self, child: str, message: Message) -> Answer | None:
        report = report_of(self.members[child], message, self._tell, self._clock())
        answer = None if report is None else acknowledge(self._name, child, report, self._hear)
        with self._changed:
            self._unheard.discard(child)
            self._changed.notify_all()
        return answer

    def _note_difference(self, child: str, full: Message) -> None:
        """Tell once of a child that has computed other weights, and asks for those of the parent."""
        if not full.info.get("differs") or child in self._differing:
            return
        self._differing.add(child)
        harm = "; the same seed need not give the same bits" * self._deterministic
        self._note(
            f"{child} has computed other weights by the same gradients, and goes on from those of the parent{harm}: "
            "use the same torch build and the same kind of machine everywhere"
        )

    def catch_up(self, steps: int) -> None:
        """See ``RunSide``. What children report is in the weights: a trajectory counts when all its rounds are over.
        Uploads tell it only with the next one, so a report can be one trajectory ahead of them.
        """
        with self._changed:
            told = self.current.steps - self._counts.early
            workers = sum(self._workers.get(name, 1) for name, each in self.members.items() if each.live)
            early = min(steps - told, workers * self._trajectory)
            if early > self._counts.early:
                self._counts.early = early
                self.current = self.current._replace(steps=told + early)

    def last_round(self, seconds: float) -> None:
        """See ``RunSide``. All rounds are in the weights; reports that count their steps come later: wait for them.
        Deterministic children report when they rest.
        """
        until = self._clock() + seconds
        with self._changed:
            if not self._deterministic:
                self._unheard = {name for name, each in self.members.items() if each.live}
            while self._unheard and not self._closed and (left := until - self._clock()) > 0:
                self._changed.wait(min(LONGEST_WAIT, left))

    def audited(self) -> None:
        """See ``RunSide``: no child trains alone."""

    @abstractmethod
    def _everything(self, member: Member, *, taken: bool = False, refused: str = "") -> Answer:
        """Weights and the optimizer's state."""

    def _rest(self, member: Member, upload: Message) -> Answer | None:
        """A child rests. Wait until all do, and the parent lets them go on."""
        child, version, rests = member.name, self.current.version, self._rests
        if (upload.term, upload.version) != (self.term, version) or not (rests.asked or rests.interval == version):
            return self._everything(member)
        if rests.asked and child not in rests.told:
            rests.told[child] = self._told_at_rest(child, upload)
            if rests.is_complete():
                self._all_rest()
        while rests.asked and not self._closed:
            self._changed.wait(LONGEST_WAIT)
        if self._closed:
            return None
        member.answered_at, current = self._clock(), self.current
        info: dict[str, Value] = {"taken": True, "rested": True, "interval": version, "steps": current.steps}
        info |= {"report_every": report_every(len(self.members)), "codec": self._coding.name}
        arrays: dict[str, Array] = {} if current.statistics is None else {"normalizer": current.statistics}
        return Answer(Message(Kind.ANSWER, self._name, self.term, version, arrays=arrays, info=info))

    def _told_at_rest(self, child: str, upload: Message) -> Told:
        try:
            return self._counts.told_by(child, upload, self._trajectory * self._workers.get(child, 1))
        except MessageRefused as error:
            self._tell((child, "refused"), f"the statistics of {child} are refused: {error}")
            return Told(0, None)

    def _all_rest(self) -> None:
        """Count what children have told."""
        steps = self.current.steps + self._counts.add(self._rests.told, self._ranks)
        self._counts.begin_anew()
        self.current = self.current._replace(steps=steps, statistics=self._counts.statistics, rests=True)
        self._go_on_if_released()

    def release(self) -> None:
        """See ``RunSide``."""
        with self._changed:
            self._rests.release()
            self._go_on_if_released()

    def _go_on_if_released(self) -> None:
        if self._rests.end_if_released(self.current.version, self.current.steps):
            self._changed.notify_all()
