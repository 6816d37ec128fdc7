"""The weights exchange at the parent: uploads into one running mean, rounds that close in time, new weights for all."""

import threading
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from marl.averaging.limits import WorkCap
from marl.data.normalizer import Moments, as_slot, num_columns
from marl.errors import MessageRefused
from marl.exchanges.answers import Answers
from marl.exchanges.base import Answer, Global, State
from marl.exchanges.buffers import Buffers
from marl.exchanges.merger import Merger, work_of
from marl.exchanges.rounds import Member, Round
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.telemetry import Report, place_report, read_report
from marl.failpoints import fail
from marl.reports.history import record, recording
from marl.wire.header import Header
from marl.wire.message import Kind, Message
from marl.wire.places import into, nowhere

MOST_SPEED = 1e7  # environment steps a second that no child can make: the bound on first claims
LONGEST_WAIT = 0.5  # seconds until a conversation looks up again


class WeightsParent:
    """See ``ParentSide``. One lock guards everything; it is held while an upload is merged, never while one travels."""

    def __init__(
        self,
        weights: Tensor,
        settings: ExchangeSettings,
        *,
        name: str,
        observation_size: int = 0,
        statistics: Moments | None = None,
        children: int | None = None,
        epoch: int = 0,
        version: int = 0,
        steps: int = 0,
        hear: Callable[[str, Report], None] = lambda child, report: None,
        note: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            observation_size: of the normaliser; 0: there is none.
            children: so many take part in every round, in the order of their ranks, however long it takes, and each
                new version waits for ``release``: the same bits each time. None: whoever is there, in time.
            hear: gets each child's reports, in the thread of its conversation.
        """
        slot = None
        if observation_size:
            slot = torch.zeros(num_columns(observation_size), dtype=torch.float64)
            if statistics is not None:
                slot.copy_(torch.from_numpy(as_slot(statistics)))
        self.epoch, self._name = epoch, name
        self._settings, self._hear, self._note, self._clock = settings, hear, note, clock
        self._changed = threading.Condition()
        self._closed = False
        self._seats = children
        self._watched = -1  # number of the round whose end somebody looks after
        self._ranks: dict[str, int] = {}
        self._released = version
        self.members: dict[str, Member] = {}
        self._merger = self._make_merger(Global(version, weights.clone(), slot, steps))
        self._answers = self._make_answers()
        self._work_cap = WorkCap(max_speed=MOST_SPEED)
        self._buffers = Buffers(weights.nbytes)
        self._round = Round(0, clock(), children)

    def _make_merger(self, current: Global) -> Merger:
        return Merger(current, self._settings, self._note)

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
        """Have every child upload what it has, and merge what comes within so many seconds."""
        with self._changed:
            number, now = self._round.number, self._clock()
            self._round.call_from(now)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._round.number > number or self._closed, seconds)

    def close(self) -> None:
        """No more rounds: everyone who waits for an answer gets none."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._buffers.close()

    def seat(self, child: str, rank: int, workers: int) -> None:
        """See ``RunSide``."""
        with self._changed:
            self._ranks[child] = rank

    def release(self) -> None:
        """The newest version may go to the children, which wait for it where time must decide nothing."""
        with self._changed:
            self._released = self.current.version
            self._changed.notify_all()

    def join(self, child: str) -> Answer:
        """See ``ParentSide``."""
        with self._changed:
            member = self.members.setdefault(child, Member(child))
            now = self._clock()
            if not any(each.live for each in self.members.values()) and not self._merger.num_uploads:
                self._round.opened_at = now  # a time without children is no part of a round
            member.live, member.joined_in = True, self._round.number
            member.moved_at = now
            member.merged_at = member.merged_at or now  # what it did alone since its last merged upload is plausible
            member.version = None
            self._round.changed()
            record("joined", child=child, epoch=self.epoch, round=self._round.number, version=self.current.version)
            return self._reply(member)

    def leave(self, child: str) -> None:
        """See ``ParentSide``."""
        self._buffers.release(child)
        with self._changed:
            self.members[child].live = False
            self._round.changed()
            record("left", child=child, epoch=self.epoch, round=self._round.number)
            self._close_if_due()
            self._changed.notify_all()

    def forget(self, child: str) -> None:
        """The child has started anew: its counters begin again."""
        with self._changed:
            before = self.members.get(child)
            if before is not None:  # what it has uploaded in this round stays in it
                self.members[child] = Member(
                    child, uploaded=before.uploaded, refused=before.refused, barred_until=before.barred_until
                )

    def place(self, child: str, header: Header) -> Mapping[str, memoryview]:
        """See ``ParentSide``."""
        self.members[child].arriving = header.kind
        if header.kind is Kind.TELEMETRY:
            return place_report(header)
        if header.kind is not Kind.UPLOAD:
            return nowhere(header)
        with self._changed:
            self.members[child].began_at = self._clock()
        if self._seats is not None:
            self._wait_for_turn(child)
        fail("parent.placing")
        return into(self._merger.place(header, self._buffers.acquire(child)))(header)

    def _wait_for_turn(self, child: str) -> None:
        """Until all of lower ranks are merged: sums in another order have other bits."""
        rank = self._ranks[child]
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed
                    or sum(each.uploaded for each in self.members.values()) >= rank
                    or self.members[child].uploaded
                )
            )

    def answer(self, child: str, message: Message) -> Answer | None:
        """See ``ParentSide``."""
        if message.kind is Kind.TELEMETRY:
            try:
                report = read_report(message)
            except MessageRefused as error:  # it costs the child this report, no more
                self._note(str(error))
                return None
            member, steps = self.members[child], int(report.steps.sum())
            if steps != member.steps:
                member.steps, member.moved_at = steps, self._clock()
            if message.counter > member.reported:
                member.reported = message.counter
                self._hear(child, report)
            return None
        if message.kind is Kind.FULL:
            with self._changed:
                self.members[child].version = None
                return self._reply(self.members[child])
        if message.kind is not Kind.UPLOAD:
            self._note(f"{child} sent a {message.kind}, which is not expected here")
            return None
        try:
            return self._answer_upload(child, message)
        finally:
            self._buffers.release(child)

    def spoiled(self, child: str, reason: str) -> Answer | None:
        """See ``ParentSide``."""
        self._buffers.release(child)
        if not self._closed:
            self._note(f"a message of {child} cannot be used: {reason}")
        with self._changed:
            if self.members[child].arriving == Kind.TELEMETRY:
                return None  # nothing is awaited: an answer would be taken for that to the next upload
            return self._reply(self.members[child])

    def patience(self, child: str) -> float:
        """See ``ParentSide``."""
        with self._changed:
            call_at = self._call_at(self.members[child])
            return LONGEST_WAIT if call_at is None else min(LONGEST_WAIT, max(0.001, call_at - self._clock()))

    def late(self, child: str) -> Answer | None:
        """See ``ParentSide``."""
        with self._changed:
            member = self.members[child]
            call_at = self._call_at(member)
            if call_at is None or self._clock() < call_at:
                return None
            member.called = True
        return Answer(Message(Kind.CALL, self._name, self.epoch, self.current.version))

    def _call_at(self, member: Member) -> float | None:
        """When a child is to be told to hurry; None if it is not, or not yet known."""
        if member.called or not self._round.waits_for(member, self._clock()):
            return None
        return self._round.call_at(self.members.values())

    def _answer_upload(self, child: str, upload: Message) -> Answer | None:
        with self._changed:
            member, now = self.members[child], self._clock()
            current = upload.epoch == self.epoch and upload.version == self.current.version
            new = upload.counter > member.last_counter and not member.uploaded
            if new and current and self._merge(member, upload, now):
                self._buffers.release(child)
                self._wait_for_round(member)
            member.last_counter = max(member.last_counter, upload.counter)
            return None if self._closed else self._reply(member)

    def _merge(self, member: Member, upload: Message, now: float) -> bool:
        """Add an upload to the round; False where it is refused, with a reason for the child."""
        fail("parent.merging")
        if member.is_barred(self._round.number):
            return False
        try:
            work: float = work_of(upload)
            if self._seats is None:  # plausible is what time says
                work = self._work_cap.plausible(member.name, work, now - member.merged_at)
            self._merger.add(member.name, upload, work)
        except MessageRefused as error:
            self._refuse(member, str(error))
            return False
        if member.answered_at:
            member.seconds.append(now - member.answered_at)
        member.transfers.append(now - (member.began_at or now))
        if recording():
            self._record_merge(member, upload, work)
        member.uploaded, member.refused = True, 0
        member.merged_counter, member.merged_at = upload.counter, now
        if self._round.first_upload_at is None:
            self._round.first_upload_at = now
        self._round.changed()
        return True

    def _record_merge(self, member: Member, upload: Message, work: float) -> None:
        weights = self._merger.uploaded(upload)
        facts = {"epoch": self.epoch, "round": self._round.number, "version": self.current.version}
        record(
            "merged", weights=weights, child=member.name, counter=upload.counter, work=work,
            is_change="change" in upload.arrays, **facts,
        )  # fmt: skip

    def _refuse(self, member: Member, reason: str) -> None:
        record("refused", child=member.name, epoch=self.epoch, round=self._round.number, reason=reason)
        self._note(member.refuse(reason, self._round.number if self._seats is None else None))

    def _wait_for_round(self, member: Member) -> None:
        number = self._round.number
        self._close_if_due()
        if self._seats is not None:
            self._changed.notify_all()  # it is the next one's turn
        watches = self._watched != number  # one of those who wait looks at the clock, the others are woken
        self._watched = number
        while self._round.number == number and not self._closed:
            wait = None
            if watches:
                close_at = self._round.close_at(self.members.values(), self._clock())
                wait = LONGEST_WAIT if close_at is None else min(LONGEST_WAIT, max(0.0, close_at - self._clock()))
            self._changed.wait(wait)
            if watches:
                self._close_if_due()
        if self._seats is not None:
            self._changed.wait_for(lambda: self._closed or self._released >= self.current.version)

    def _close_if_due(self) -> None:
        """Merge, if everyone is there or time is up."""
        now = self._clock()
        if self._closed or not self._merger.num_uploads:
            return
        if not self._round.complete(self.members.values(), now):
            close_at = self._round.close_at(self.members.values(), now)
            if close_at is None or now < close_at:
                return
        fail("parent.closing")
        self._merger.close(self._ranks)
        if self._round.number == 0:
            self._merger.choose_codec(max(max(each.transfers, default=0.0) for each in self.members.values()))
        for member in self.members.values():
            member.uploaded = member.called = False
            member.began_at = None
        self._round = Round(self._round.number + 1, now, self._seats)
        if recording():
            record("round", weights=self.current.weights, epoch=self.epoch, round=self._round.number,
                   version=self.current.version, steps=self.current.steps)  # fmt: skip
        fail("parent.closed")
        self._changed.notify_all()

    def _reply(self, member: Member) -> Answer:
        """What ``member`` has to know now."""
        refusal, member.refusal = member.refusal, None
        answer = self._answers.to(member, refusal, num_children=len(self.members))
        member.version, member.answered_at = self.current.version, self._clock()
        return answer

    def restore(self, tensors: Mapping[str, Tensor], merged: Mapping[str, int]) -> None:
        """Go on from what ``saved`` said; before any child joins."""
        for mine, name in ((self._merger.velocity, "velocity"), (self._merger.error, "error")):
            if mine is not None and name in tensors:
                mine.copy_(tensors[name])
        for child, counter in merged.items():
            self.members[child] = Member(child, merged_counter=counter, last_counter=counter)

    def saved(self) -> State:
        """Everything that a resumed parent needs."""
        with self._changed:
            velocity, error = (
                None if each is None else each.clone() for each in (self._merger.velocity, self._merger.error)
            )
            # An upload of the open round is not yet in these weights.
            merged = {name: member.merged_counter - member.uploaded for name, member in self.members.items()}
            return State(self.current, velocity, error, merged)
