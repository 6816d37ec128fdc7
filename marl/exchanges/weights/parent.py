"""The weights exchange at the parent: averages uploads in rounds with a deadline, and sends new weights to all."""

from typing import Any

from marl.exchanges.member import Member
from marl.exchanges.merging.merger import Merged
from marl.exchanges.merging.parent import LONGEST_WAIT, MergingParent
from marl.exchanges.sides import Answer
from marl.exchanges.weights.rounds import Round
from marl.failpoints import fail
from marl.reports.history import record, recording
from marl.wire.message import Kind, Message


class WeightsParent(MergingParent):
    """See ``ParentSide``."""

    def __init__(self, *args: Any, **named: Any) -> None:
        """See ``MergingParent``."""
        super().__init__(*args, **named)
        self._watched = -1  # number of the round whose deadline some thread watches
        self._released = self.current.version
        self._round = Round(0, self._clock(), self._expected)

    def catch_up(self, steps: int) -> None:
        """See ``RunSide``: the open round does not wait until uploads are due."""
        with self._changed:
            self._round.flush_from(self._clock())
            self._changed.notify_all()

    def last_round(self, seconds: float) -> None:
        """See ``MergingParent.last_round``."""
        with self._changed:
            number, now = self._round.number, self._clock()
            self._round.flush_from(now)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._round.number > number or self._closed, seconds)

    def release(self) -> None:
        """See ``MergingParent.release``."""
        with self._changed:
            self._released = self.current.version
            self._changed.notify_all()

    def _joins(self, member: Member, now: float) -> None:
        if not any(each.live for each in self.members.values()) and not self._merger.num_uploads:
            self._round.opened_at = now  # time without children does not count
        member.joined_in = self._round.number
        self._round.changed()
        if self.timer is not None:
            self.timer.join(member.name)
        record("joined", child=member.name, epoch=self.term, round=self._round.number, version=self.current.version)

    def _leaves(self, member: Member) -> None:
        self._round.changed()
        record("left", child=member.name, epoch=self.term, round=self._round.number)
        self._close_if_due()

    def _went_back(self) -> None:
        self._open_round(self._clock())

    def _open_round(self, now: float) -> None:
        for member in self.members.values():
            member.uploaded = member.flushed = False
            member.began_at = None
        self._round = Round(self._round.number + 1, now, self._expected)

    def _participants_changed(self) -> None:
        self._round.changed()
        self._close_if_due()
        super()._participants_changed()

    def _wait_for_turn(self, child: str) -> None:
        """Wait until all lower ranks are merged: sums in another order would have other bits."""
        if self._expected is None:
            return
        rank = self._ranks[child]
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed
                    or sum(each.uploaded for each in self.members.values()) >= rank
                    or self.members[child].uploaded
                )
            )

    def patience(self, child: str) -> float:
        """See ``ParentSide``."""
        with self._changed:
            flush_at = self._flush_at(self.members[child])
            return LONGEST_WAIT if flush_at is None else min(LONGEST_WAIT, max(0.001, flush_at - self._clock()))

    def late(self, child: str) -> Answer | None:
        """See ``ParentSide``."""
        with self._changed:
            member = self.members[child]
            flush_at = self._flush_at(member)
            if flush_at is None or self._clock() < flush_at:
                return None
            member.flushed = True
        return Answer(Message(Kind.FLUSH, self._name, self.term, self.current.version))

    def _flush_at(self, member: Member) -> float | None:
        """When to tell a child to upload at once; None if it need not be told, or the time is not known yet."""
        if member.flushed or not self._round.waits_for(member, self._clock()):
            return None
        return self._round.flush_at(self.members.values())

    def _count_for(self, member: Member) -> int | None:
        return self._round.number if self._expected is None else None

    def _take(self, member: Member, upload: Message) -> None:
        current = upload.term == self.term and upload.version == self.current.version
        new = upload.counter > member.last_counter and not member.uploaded
        now = self._clock()
        if not (new and current and self._merge(member, upload)):
            return
        self._buffers.release(member.name)
        if self.timer is not None:
            self.timer.upload(member.name, upload.info.get("busy"))
        if member.answered_at:
            member.seconds.append(now - member.answered_at)
        member.transfers.append(now - (member.began_at or now))
        member.uploaded = True
        if self._round.first_upload_at is None:
            self._round.first_upload_at = now
        self._round.changed()
        self._wait_for_round()

    def _record_merge(self, member: Member, upload: Message, merged: Merged) -> None:
        weights = self._merger.uploaded(upload)
        facts = {"epoch": self.term, "round": self._round.number, "version": self.current.version}
        record(
            "merged", weights=weights, child=member.name, counter=upload.counter, **merged._asdict(),
            is_change="change" in upload.arrays, **facts,
        )  # fmt: skip

    def _wait_for_round(self) -> None:
        number = self._round.number
        self._close_if_due()
        if self._expected is not None:
            self._changed.notify_all()  # it is the next one's turn
        watches = self._watched != number  # one of the waiting threads watches the clock and wakes the others
        self._watched = number
        while self._round.number == number and not self._closed:
            wait = None
            if watches:
                close_at = self._round.close_at(self.members.values(), self._clock())
                wait = LONGEST_WAIT if close_at is None else min(LONGEST_WAIT, max(0.0, close_at - self._clock()))
            self._changed.wait(wait)
            if watches:
                self._close_if_due()
        if self._expected is not None:
            self._changed.wait_for(lambda: self._closed or self._released >= self.current.version)

    def _close_if_due(self) -> None:
        """Close the round if all uploads are there or time is up."""
        now = self._clock()
        if self._closed or not self._merger.num_uploads:
            return
        if not self._round.complete(self.members.values(), now):
            close_at = self._round.close_at(self.members.values(), now)
            if close_at is None or now < close_at:
                return
        fail("parent.closing")
        self._merger.close(self._ranks)
        if self.timer is not None:
            self.timer.end_round()
        if self._round.number == 0:
            self._merger.choose_codec(max(max(each.transfers, default=0.0) for each in self.members.values()))
        self._open_round(now)
        if recording():
            record("round", weights=self.current.weights, epoch=self.term, round=self._round.number,
                   version=self.current.version, steps=self.current.steps)  # fmt: skip
        fail("parent.closed")
        self._changed.notify_all()
