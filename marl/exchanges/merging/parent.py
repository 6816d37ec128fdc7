"""What all exchanges that merge weights share at the parent: members, messages, and the one way into the weights."""

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from marl.data.normalizer import Moments
from marl.errors import MessageRefused
from marl.exchanges.child_reports import Hear, acknowledge, hear_all, place_report, read_report
from marl.exchanges.member import Member
from marl.exchanges.merging.answers import Answers
from marl.exchanges.merging.buffers import Buffers
from marl.exchanges.merging.merger import Merged, Merger
from marl.exchanges.merging.participation import Participation
from marl.exchanges.merging.vetting import Sent
from marl.exchanges.observed import Observed
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.sides import Answer, Audited, Global, State
from marl.failpoints import fail
from marl.reports.history import record, recording
from marl.training.reach import Reach
from marl.wire.header import Header
from marl.wire.message import Kind, Message
from marl.wire.places import into, nowhere
from marl.words import Lines

LONGEST_AWAY = 3600.0  # seconds that children can have learned alone while no parent lived
LONGEST_WAIT = 0.5  # seconds until a conversation looks up again


class MergingParent(Participation):
    """See ``ParentSide``. One lock guards everything; it is held while an upload is merged, never while one travels."""

    def __init__(
        self,
        weights: Tensor,
        settings: ExchangeSettings,
        *,
        name: str,
        observation_size: int = 0,
        statistics: Moments | None = None,
        sample: Moments | None = None,
        reach: Reach | None = None,
        seen_beside: float = 0.0,
        children: int | None = None,
        epoch: int = 0,
        version: int = 0,
        steps: int = 0,
        hear: Hear = hear_all,
        note: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            observation_size: of the normaliser; 0: there is none.
            sample: observations that the parent has made itself: a measure of what children say.
            reach: of the run's learning: a measure of what they upload. None: only earlier uploads are.
            seen_beside: observations of each worker that an upload's steps do not count yet.
            children: how many take part in every round, in the order of their ranks, however long it takes; each
                new version waits for ``release``: the same bits each time. None: those that upload in time.
            hear: gets each child's reports, in the thread of its conversation.
        """
        self.epoch, self._name = epoch, name
        self._settings, self._hear, self._note, self._clock = settings, hear, note, clock
        self._tell = Lines(note, clock=clock)  # what children give rise to
        self._changed = threading.Condition()
        self._closed = False
        self._expected = children
        self._ranks: dict[str, int] = {}
        self._workers: dict[str, int] = {}
        self._quarantined: dict[str, int] = {}  # by the parent that is resumed, for so long
        self.members: dict[str, Member] = {}
        self._observed = Observed(observation_size, statistics, sample) if observation_size else None
        slot = None if self._observed is None else self._observed.slot
        self._merger = self._make_merger(
            Global(version, weights.clone(), slot, steps), observed=self._observed, reach=reach, seen_beside=seen_beside
        )
        self._answers = self._make_answers()
        self._buffers = Buffers(weights.nbytes)

    def _make_merger(self, current: Global, **named: Any) -> Merger:
        return Merger(current, self._settings, self._note, **named)

    def _make_answers(self) -> Answers:
        return Answers(self._merger, name=self._name, epoch=self.epoch)

    @property
    def current(self) -> Global:
        """The newest global weights."""
        return self._merger.current

    @property
    def codec(self) -> str:
        """Of the next uploads."""
        return self._merger.codec

    def last_round(self, seconds: float) -> None:
        """Have every child upload what it has, and merge what comes within ``seconds``."""

    def audited(self) -> Audited:
        """See ``RunSide``."""
        return self

    def close(self) -> None:
        """Nothing more is merged: everyone who waits for an answer gets none."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._buffers.close()

    def release(self) -> None:
        """The newest version may go to the children, which wait for it in deterministic mode."""

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
            member.merged_at = member.merged_at or now  # what it did alone since its last merged upload is plausible
            member.version = None
            return self._reply(member)

    def _joins(self, member: Member, now: float) -> None:
        """A child is there, the first time or again."""

    def leave(self, child: str) -> None:
        """See ``ParentSide``."""
        self._buffers.release(child)
        with self._changed:
            self.members[child].live = False
            self._leaves(self.members[child])
            self._changed.notify_all()

    def _leaves(self, member: Member) -> None:
        """A child is gone, for now or for good."""

    def forget(self, child: str) -> None:
        """The child has started anew: its counters begin again."""
        with self._changed:
            before = self.members.get(child)
            if before is not None:  # what it has uploaded in this round stays in it
                self.members[child] = before.started_anew()

    def place(self, child: str, header: Header) -> Mapping[str, memoryview]:
        """See ``ParentSide``."""
        self.members[child].arriving = header.kind
        if header.kind is Kind.TELEMETRY:
            return place_report(header)
        if header.kind is not Kind.UPLOAD:
            return nowhere(header)
        with self._changed:
            self.members[child].began_at = self._clock()
        self._wait_for_turn(child)
        fail("parent.placing")
        return into(self._merger.place(header, self._buffers.acquire(child)))(header)

    def _wait_for_turn(self, child: str) -> None:
        """Until the child's upload may be merged."""

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
        try:
            report = read_report(message)
        except MessageRefused as error:  # it costs the child this report, no more
            self._tell(child, str(error))
            return None
        member, steps = self.members[child], int(report.steps.sum())
        if steps != member.steps:
            member.steps, member.moved_at = steps, self._clock()
        return acknowledge(self._name, child, report, self._hear)

    @abstractmethod
    def _take(self, member: Member, upload: Message) -> None:
        """An upload has come: merge it, if it is new and of this epoch, and wait for what is to be answered."""

    def rejected(self, child: str, reason: str) -> Answer | None:
        """See ``ParentSide``."""
        self._buffers.release(child)
        if not self._closed:
            self._tell(child, f"a message of {child} cannot be used: {reason}")
        with self._changed:
            if self.members[child].arriving == Kind.TELEMETRY:
                return None  # nothing is awaited: an answer would be taken for that to the next upload
            return self._reply(self.members[child])

    def patience(self, child: str) -> float:
        """See ``ParentSide``."""
        return LONGEST_WAIT

    def late(self, child: str) -> Answer | None:
        """See ``ParentSide``."""
        return None

    def _merge(self, member: Member, upload: Message) -> bool:
        """The only way into the weights; False where an upload is refused, with a reason for the child."""
        fail("parent.merging")
        now = self._clock()
        if self._is_quarantined(member):
            return False
        elapsed = now - member.merged_at if self._expected is None else None  # plausible is what time says
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
        """Write down what averages again to the same bits."""

    def _refuse(self, member: Member, reason: str) -> None:
        record("refused", child=member.name, epoch=self.epoch, round=self._count_for(member), reason=reason)
        said = member.refuse(reason, self._count_for(member))
        self._tell((member.name, "refused" if member.refused else "quarantined"), said)

    def _reply(self, member: Member) -> Answer:
        """What ``member`` has to know now."""
        refusal, member.refusal = member.refusal, None
        answer = self._answers.to(member, refusal, num_children=len(self.members))
        member.version, member.answered_at = self.current.version, self._clock()
        return answer

    def restore(self, tensors: Mapping[str, Tensor], merged: Mapping[str, int], limits: Mapping[str, Any]) -> None:
        """Go on from what ``saved`` said; before any child joins."""
        for mine, name in ((self._merger.velocity, "velocity"), (self._merger.error, "error")):
            if mine is not None and name in tensors:
                mine.copy_(tensors[name])
        for child, counter in merged.items():
            self.members[child] = Member(child, merged_counter=counter, last_counter=counter)
            self.members[child].merged_at = self._since(limits.get("merged_at"), child)
        self._merger.vetting.restore(limits.get("uploads"))
        quarantined = limits.get("quarantined")
        for child, count in quarantined.items() if isinstance(quarantined, dict) else ():
            if isinstance(count, int) and count > 0:
                self._quarantined[child] = count

    def _since(self, saved: object, child: str) -> float:
        """When an upload of the child was merged by a parent that died: the time of the world goes on meanwhile."""
        at = saved.get(child) if isinstance(saved, dict) else None
        return self._clock() - min(max(0.0, time.time() - at), LONGEST_AWAY) if isinstance(at, (int, float)) else 0.0

    def saved(self) -> State:
        """Everything that a resumed parent needs."""
        with self._changed:
            velocity, error = (
                None if each is None else each.clone() for each in (self._merger.velocity, self._merger.error)
            )
            # An upload of the open round is not yet in these weights.
            merged = {name: member.merged_counter - member.uploaded for name, member in self.members.items()}
            quarantined = {
                name: member.quarantined_for(self._count_for(member)) for name, member in self.members.items()
            }
            quarantined = self._quarantined | {name: count for name, count in quarantined.items() if count}
            # An open round's upload is none yet: what it holds is since the answer before.
            at = {name: m.answered_at if m.uploaded else m.merged_at for name, m in self.members.items()}
            zero = time.time() - self._clock()
            merged_at = {name: zero + seconds for name, seconds in at.items() if seconds}
            limits = {"uploads": self._merger.vetting.saved(), "quarantined": quarantined, "merged_at": merged_at}
            return State(self.current, velocity, error, merged, limits)
