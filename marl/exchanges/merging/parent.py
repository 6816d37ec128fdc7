"""The base class of parents that merge weights: members, messages, and the only method that changes the weights."""

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from marl.averaging.reach import Reach
from marl.averaging.vetting import Sent
from marl.data.normalizer import RunningStatistics
from marl.errors import MessageRefused
from marl.exchanges.child_reports import Hear, acknowledge, hear_all, report_buffers, report_of
from marl.exchanges.member import Member
from marl.exchanges.merging.broadcasts import Broadcasts
from marl.exchanges.merging.buffers import Buffers
from marl.exchanges.merging.merger import Merged, Merger
from marl.exchanges.merging.moments import MergedMoments
from marl.exchanges.merging.participation import Participation
from marl.exchanges.observation_statistics import Observed
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.sides import Answer, Audited, Global, State
from marl.exchanges.virtual_time import RoundTimer
from marl.failpoints import fail
from marl.log_throttle import LogThrottle
from marl.reports.history import record, recording
from marl.wire.header import Header
from marl.wire.message import Kind, Message
from marl.wire.receive_buffers import buffers_of, no_buffers

LONGEST_AWAY = 3600.0  # limit of the seconds that children may have trained without a parent
LONGEST_WAIT = 0.5  # seconds until a conversation checks again


class MergingParent(Participation):
    """See ``ParentSide``. One lock guards everything; it is held while an upload is merged, never while one travels."""

    timer: RoundTimer | None = None  # counts virtual time

    def __init__(
        self,
        weights: Tensor,
        settings: ExchangeSettings,
        *,
        name: str,
        observation_size: int = 0,
        statistics: RunningStatistics | None = None,
        sample: RunningStatistics | None = None,
        reach: Reach | None = None,
        seen_beside: float = 0.0,
        moments: MergedMoments | None = None,
        children: int | None = None,
        term: int = 0,
        version: int = 0,
        steps: int = 0,
        hear: Hear = hear_all,
        note: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            observation_size: of the normaliser; 0: there is none.
            sample: statistics of the parent's own observations, to check those of children.
            reach: how far learning can move weights, to check uploads. None: check them only by earlier uploads.
            seen_beside: observations per worker that an upload may contain before it counts their steps.
            moments: averages those of the children's optimizers; None: they are not averaged.
            children: deterministic mode: each round waits for this many children and merges them by rank. Each new
                version waits for ``release``. None: a round takes the children that upload in time.
            hear: gets each child's reports, in the thread of its conversation.
        """
        self.term, self._name = term, name
        self._settings, self._hear, self._note, self._clock = settings, hear, note, clock
        self._tell = LogThrottle(note, clock=clock)  # lines that children can cause, limited in number
        self._changed = threading.Condition()
        self._closed = False
        self._expected = children
        self._ranks: dict[str, int] = {}
        self._workers: dict[str, int] = {}
        self._quarantined: dict[str, int] = {}  # quarantines of the resumed parent: how much longer they last
        self.members: dict[str, Member] = {}
        self._observed = Observed(observation_size, statistics, sample) if observation_size else None
        row = None if self._observed is None else self._observed.statistics
        self._merger = self._make_merger(
            Global(version, weights.clone(), row, steps),
            observed=self._observed, reach=reach, seen_beside=seen_beside, moments=moments,
        )  # fmt: skip
        self._broadcasts = self._make_broadcasts()
        self._buffers = Buffers(weights.nbytes + (0 if moments is None else moments.num_bytes))

    def _make_merger(self, current: Global, **named: Any) -> Merger:
        return Merger(current, self._settings, self._note, **named)

    def _make_broadcasts(self) -> Broadcasts:
        return Broadcasts(self._merger, name=self._name, term=self.term)

    @property
    def current(self) -> Global:
        """The newest global weights."""
        return self._merger.current

    @property
    def codec(self) -> str:
        """The codec of the next uploads."""
        return self._merger.codec

    def catch_up(self, steps: int) -> None:
        """See ``RunSide``."""

    def last_round(self, seconds: float) -> None:
        """Have every child upload what it has, and merge what comes within ``seconds``."""

    def audited(self) -> Audited:
        """See ``RunSide``."""
        return self

    def close(self) -> None:
        """Merge nothing more, and end all waits; threads that wait for a broadcast get none."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._buffers.close()

    def release(self) -> None:
        """Let the newest version go to the children, which wait for this in deterministic mode."""

    def join(self, child: str) -> Answer:
        """See ``ParentSide``."""
        with self._changed:
            member = self.members.get(child)
            if member is None:
                member = self.members[child] = Member(child)
            if child in self._quarantined:
                member.quarantined_until = (self._count_for(member) or 0) + self._quarantined.pop(child)
            now = self._clock()
            self._joins(member, now)
            member.live, member.moved_at = True, now
            member.merged_at = member.merged_at or now  # so work that it did alone since then is plausible
            member.version = None
            return self._reply(member)

    def _joins(self, member: Member, now: float) -> None:
        """A child has joined, for the first time or again."""

    def leave(self, child: str) -> None:
        """See ``ParentSide``."""
        self._buffers.release(child)
        with self._changed:
            self.members[child].live = False
            self._leaves(self.members[child])
            self._changed.notify_all()

    def _leaves(self, member: Member) -> None:
        """A child is gone. It may come back later."""

    def forget(self, child: str) -> None:
        """The child was restarted: its counters begin at 0."""
        with self._changed:
            before = self.members.get(child)
            if before is not None:  # its upload of this round stays in the round
                self.members[child] = before.started_anew()

    def receive_buffers(self, child: str, header: Header) -> Mapping[str, memoryview]:
        """See ``ParentSide``."""
        self.members[child].arriving = header.kind
        if header.kind is Kind.TELEMETRY:
            return report_buffers(header)
        if header.kind is not Kind.UPLOAD:
            return no_buffers(header)
        with self._changed:
            self.members[child].began_at = self._clock()
        self._wait_for_turn(child)
        fail("parent.receiving")
        return buffers_of(self._merger.receive_tensors(header, self._buffers.acquire(child)))(header)

    def _wait_for_turn(self, child: str) -> None:
        """Wait until the child's upload may be merged."""

    def answer(self, child: str, message: Message) -> Answer | None:
        """See ``ParentSide``."""
        if message.kind is Kind.TELEMETRY:
            return self._hear_report(child, message)
        if message.kind is Kind.FULL:
            with self._changed:
                self.members[child].version = None
                return self._reply(self.members[child])
        if message.kind is not Kind.UPLOAD:
            self._tell(child, f"{child} sent a {message.kind}, which is not expected here")
            return None
        try:
            with self._changed:
                member = self.members[child]
                member.arrived += 1
                self._take(member, message)
                member.last_counter = max(member.last_counter, message.counter)
                return None if self._closed else self._reply(member)
        finally:
            self._buffers.release(child)

    def _hear_report(self, child: str, message: Message) -> Answer | None:
        report = report_of(self.members[child], message, self._tell, self._clock())
        return None if report is None else acknowledge(self._name, child, report, self._hear)

    @abstractmethod
    def _take(self, member: Member, upload: Message) -> None:
        """Merge an upload if it is new and of this term. Then wait until the broadcast is known."""

    def rejected(self, child: str, reason: str) -> Answer | None:
        """See ``ParentSide``."""
        self._buffers.release(child)
        if not self._closed:
            self._tell(child, f"a message of {child} cannot be used: {reason}")
        with self._changed:
            if self.members[child].arriving == Kind.TELEMETRY:
                return None  # the child would believe that a broadcast now answers its next upload
            return self._reply(self.members[child])

    def patience(self, child: str) -> float:
        """See ``ParentSide``."""
        return LONGEST_WAIT

    def late(self, child: str) -> Answer | None:
        """See ``ParentSide``."""
        return None

    def _merge(self, member: Member, upload: Message) -> bool:
        """Merge an upload; nothing else changes the weights. False if it is refused; the child gets the reason."""
        fail("parent.merging")
        now = self._clock()
        if self._is_quarantined(member):
            return False
        elapsed = now - member.merged_at if self._expected is None else None  # bounds the work
        sent = Sent(member.name, elapsed, self._workers.get(member.name, 1))
        try:
            merged = self._merger.add(upload, sent)
        except MessageRefused as error:
            self._refuse(member, str(error))
            return False
        complaint = self._merger.vetting.complaint(member.name)
        if self._merger.directions.opposed(self._takers()) == (member.name,):
            complaint = "its changes of the weights go against those of all others"
        if complaint:
            self._quarantine(member, complaint)
        if recording():
            self._record_merge(member, upload, merged)
        member.refused, member.merged_counter, member.merged_at = 0, upload.counter, now
        return True

    def _record_merge(self, member: Member, upload: Message, merged: Merged) -> None:
        """Write what a test needs to average again and get the same bits."""

    def _refuse(self, member: Member, reason: str) -> None:
        record("refused", child=member.name, epoch=self.term, round=self._count_for(member), reason=reason)
        said = member.refuse(reason, self._count_for(member))
        self._tell((member.name, "refused" if member.refused else "quarantined"), said)

    def _reply(self, member: Member) -> Answer:
        """The broadcast for ``member`` now."""
        refusal, member.refusal = member.refusal, None
        broadcast = self._broadcasts.to(member, refusal, num_children=len(self.members))
        member.version, member.answered_at = self.current.version, self._clock()
        return broadcast

    def restore(self, tensors: Mapping[str, Tensor], merged: Mapping[str, int], limits: Mapping[str, Any]) -> None:
        """Continue from a ``saved`` state; called before any child joins."""
        self._merger.restore(tensors)
        for child, counter in merged.items():
            self.members[child] = Member(child, merged_counter=counter, last_counter=counter)
            self.members[child].merged_at = self._since(limits.get("merged_at"), child)
        self._merger.vetting.restore(limits.get("uploads"))
        quarantined = limits.get("quarantined")
        for child, count in quarantined.items() if isinstance(quarantined, dict) else ():
            if isinstance(count, int) and count > 0:
                self._quarantined[child] = count

    def _since(self, saved: object, child: str) -> float:
        """When the child's last upload was merged before the resume, on this clock; 0 if not known."""
        at = saved.get(child) if isinstance(saved, dict) else None
        return self._clock() - min(max(0.0, time.time() - at), LONGEST_AWAY) if isinstance(at, (int, float)) else 0.0

    def saved(self) -> State:
        """Everything that a resumed parent needs."""
        with self._changed:
            velocity, error = (
                None if each is None else each.clone() for each in (self._merger.outer.velocity, self._merger.error)
            )
            # An upload of the open round is not yet in these weights.
            merged = {name: member.merged_counter - member.uploaded for name, member in self.members.items()}
            quarantined = {
                name: member.quarantined_for(self._count_for(member)) for name, member in self.members.items()
            }
            quarantined = self._quarantined | {name: count for name, count in quarantined.items() if count}
            # An upload of the open round is not in the checkpoint. Its work began with the child's last broadcast.
            at = {name: m.answered_at if m.uploaded else m.merged_at for name, m in self.members.items()}
            zero = time.time() - self._clock()
            merged_at = {name: zero + seconds for name, seconds in at.items() if seconds}
            limits = {"uploads": self._merger.vetting.saved(), "quarantined": quarantined, "merged_at": merged_at}
            return State(self.current, velocity, error, merged, limits, self._merger.saved())
