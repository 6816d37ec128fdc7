"""The gradients exchange at the parent: adds up the parts of each round, and sends the sum to all.

It makes the same optimizer steps as every child, so it has the weights to save, to evaluate, and to send to a child
that joins.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from marl.digests import name_of
from marl.errors import MessageRefused, WeightsRefused
from marl.exchanges.base import ParentFacts
from marl.exchanges.child_reports import report_buffers, report_every
from marl.exchanges.gradients.attendance import Attendance
from marl.exchanges.gradients.coding import Coding
from marl.exchanges.gradients.memory import GRADIENT, SUMS, most_transitions, num_sums, rounds_of
from marl.exchanges.gradients.parts import Part, length_of, part_of, total_of
from marl.exchanges.gradients.resting import LONGEST_WAIT, Counts, Resting, Rests, Told
from marl.exchanges.gradients.settings import EXACT
from marl.exchanges.gradients.step import Step
from marl.exchanges.member import Member
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.sides import Answer, Global, State
from marl.failpoints import fail
from marl.log_throttle import LogThrottle
from marl.training.saved.weights_file import copy_exactly
from marl.wire.arrays import bytes_of, digest_of
from marl.wire.header import Header
from marl.wire.message import Array, Kind, Message, Value
from marl.wire.receive_buffers import buffers_of, no_buffers

COMPARE_EVERY = 100  # rounds after which all compare their weights


class GradientsParent(Resting):
    """See ``RunSide``. One lock guards everything; it is held while parts are added up, never while one travels.

    In deterministic mode a round waits for every child, however long that takes. A child that has missed an answer gets
    it again: all that it does is then the same, as if nothing had been lost.
    """

    def __init__(
        self, facts: ParentFacts, settings: ExchangeSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        run = facts.run
        self.term, self.members = facts.term, dict[str, Member]()
        self._name, self._hear, self._clock = facts.name, facts.hear, clock
        self._settings, self._deterministic = settings, run.deterministic
        self._rests = Rests(
            facts.children if run.deterministic else None,
            version=facts.version,
            steps=facts.steps,
            every=facts.interval,
            last=facts.last_step,
        )
        self._tell = LogThrottle(facts.note, clock=clock)
        self._changed, self._closed = threading.Condition(), False
        self._ranks: dict[str, int] = {}
        self._workers: dict[str, int] = {}
        self._attendance = Attendance(clock, facts.timer, self._rests.children)
        self._counts = Counts(facts.observation_size, facts.statistics, facts.sample)
        self._size, self._parameters = facts.weights.numel(), facts.num_parameters
        statistics = self._counts.statistics
        self.current = Global(facts.version, facts.weights.clone(), statistics, facts.steps, updates=0)
        self._state, self._count = torch.zeros(2, self._parameters), torch.zeros(1)
        self._step, self._updates = Step(run, self._state, self._count), 0
        self._trajectory, self._most = run.algorithm.t_max * run.environment.per_worker, most_transitions(run)
        self._fastest = max(run.algorithm.learning_rate, run.algorithm.final_learning_rate)
        sums, self._rounds = num_sums(run), rounds_of(run)
        self._coding = Coding(
            settings.codec, parameters=self._parameters, sums=sums, rounds=self._rounds, note=facts.note
        )
        self._parts: dict[str, Part] = {}
        self._told: dict[str, Told] = {}  # with them
        self._last: Answer | None = None  # of the round that was closed last
        self._unheard, self._differing, self._note = set(), set(), facts.note

    def join(self, child: str) -> Answer:
        """See ``ParentSide``."""
        with self._changed:
            member = self.members.setdefault(child, Member(child))
            member.live, member.moved_at = True, self._clock()
            others = any(each.live for each in self.members.values() if each is not member)
            self._attendance.join(child, first=not self._parts and not others)
            return self._everything(member)

    def leave(self, child: str) -> None:
        """See ``ParentSide``."""
        with self._changed:
            self.members[child].live = False
            self._unheard.discard(child)
            self._attendance.leave(child)
            self._close_if_due()
            self._changed.notify_all()

    def receive_buffers(self, child: str, header: Header) -> Mapping[str, memoryview]:
        """See ``ParentSide``."""
        self.members[child].arriving = header.kind
        if header.kind is Kind.TELEMETRY:
            return report_buffers(header)
        if header.kind is not Kind.UPLOAD or not header.manifest:
            return no_buffers(header)
        self.members[child].began_at = self._clock()
        known = self._coding.receive_tensors(child)
        if self._counts.statistics is not None:
            known["moments"] = torch.empty_like(self._counts.statistics)
        came = {entry.name for entry in header.manifest}
        return buffers_of({name: tensor for name, tensor in known.items() if name in came})(header)

    def answer(self, child: str, message: Message) -> Answer | None:
        """See ``ParentSide``."""
        if message.kind is Kind.TELEMETRY:
            return self._hear_report(child, message)
        with self._changed:
            member = self.members[child]
            if message.kind is Kind.FULL:
                self._note_difference(child, message)
                missed = message.info.get("again") and message.version == self.current.version - 1
                return self._last if missed and self._last is not None else self._everything(member)
            if message.kind is Kind.UPLOAD:
                return self._rest(member, message) if message.info.get("rest") else self._take(member, message)
        self._tell(child, f"{child} sent a {message.kind}, which is not expected here")
        return None

    def rejected(self, child: str, reason: str) -> Answer | None:
        """See ``ParentSide``."""
        if not self._closed:
            self._tell(child, f"a message of {child} cannot be used: {reason}")
        with self._changed:
            member = self.members[child]
            return None if member.arriving == Kind.TELEMETRY else self._everything(member)

    def _take(self, member: Member, upload: Message) -> Answer | None:
        """Add a part to the open round, and wait until the round is closed."""
        child, version = member.name, self.current.version
        member.arrived += 1
        is_again = child in self._parts
        if (upload.term, upload.version) != (self.term, version) or (is_again and not self._deterministic):
            return self._everything(member)
        fail("parent.merging")
        try:
            if not is_again:
                self._add(member, upload)
        except MessageRefused as error:
            self._tell((child, "refused"), f"a part of {child} is refused: {error}")
            return self._everything(member, refused=str(error))
        self._close_if_due()
        while self.current.version == version and not self._closed:
            self._changed.wait(min(LONGEST_WAIT, max(0.0, self._attendance.due_at() - self._clock())))
            self._close_if_due()
        if self._closed:
            return None
        if self._last is None or self.current.version != version + 1:
            return self._everything(member, taken=True)
        member.version, member.answered_at, member.merged_counter = version + 1, self._clock(), upload.counter
        return self._last

    def _add(self, member: Member, upload: Message) -> None:
        """Add a part to the open round.

        Raises:
            MessageRefused: it cannot be used, and nothing has changed.
        """
        child = member.name
        upload = self._coding.decoded(child, upload)
        workers = self._workers.get(child, 1)
        part = part_of(upload, most=float(self._most * workers), fastest=self._fastest)
        self._told[child] = self._counts.told_by(child, upload, self._trajectory * workers)
        self._parts[child] = part
        if part.kind == GRADIENT:
            self._coding.arrived(self._clock() - (member.began_at or 0.0))
        self._attendance.take(child, upload.info.get("busy"))

    def _close_if_due(self) -> None:
        """Close the round if all parts are there, or time is up."""
        if self._closed or not self._parts:
            return
        live = [name for name, each in self.members.items() if each.live]
        if self._attendance.is_over(self._parts, live):
            self._close()
            self._changed.notify_all()

    def _close(self) -> None:
        """Add up, move the weights, and open the next round."""
        before, now = self.current, self._clock()
        total = total_of(self._parts, self._ranks, self._settings.clip)
        version, weights, updates = before.version + 1, before.weights, before.updates or 0
        info: dict[str, Value] = {"taken": True, "report_every": report_every(len(self.members))}
        arrays: dict[str, Array] = {}
        if total.kind == GRADIENT and total.numbers is not None:
            try:
                arrays, mean = self._coding.encoded(total.numbers)
            except WeightsRefused as error:
                self._tell("mean", f"the mean of gradients of version {version} moves nothing: {error}")
            else:
                norm, self._updates, updates = length_of(mean), self._updates + 1, updates + 1
                info["norm"], info["rate"], info["updates"] = norm, total.rate, self._updates
                weights = weights.clone()  # the last version is still being read
                self._step.make(weights, mean, norm=norm, rate=total.rate, updates=self._updates)
            self._coding.end_round(now)
        elif total.kind == SUMS and total.numbers is not None:
            arrays["sums"] = total.numbers
        steps = before.steps + self._counts.add(self._told, self._ranks)
        statistics = self._counts.statistics
        if statistics is not None and statistics is not before.statistics:
            arrays["normalizer"] = statistics
        self.current = Global(version, weights, statistics, steps, updates=updates, rests=False)
        if self._rests.ask_if_due(version, steps, self._rounds):
            info["rest"] = True
        info["steps"], info["codec"] = self.current.steps, self._coding.name
        if version % COMPARE_EVERY == 0:
            info["hash"] = name_of(bytes_of(weights))
        self._last = Answer(
            Message(Kind.ANSWER, self._name, self.term, version, arrays=arrays, info=info), digest_of(arrays)
        )
        self._attendance.end_round(self._parts, waits=self._settings.form == EXACT or total.kind == SUMS)
        self._parts, self._told = {}, {}

    def _everything(self, member: Member, *, taken: bool = False, refused: str = "") -> Answer:
        """Weights and the optimizer's state."""
        arrays: dict[str, Array] = {
            "weights": self.current.weights,
            "optimizer": self._state.clone(),
            "optimizer_steps": self._count.clone(),
        }
        if self.current.statistics is not None:
            arrays["normalizer"] = self.current.statistics
        info: dict[str, Value] = {"steps": self.current.steps, "taken": taken, "codec": self._coding.name}
        info["report_every"] = report_every(len(self.members))
        if self._deterministic:
            info["interval"], info["rest"] = self._rests.interval, self._rests.asked
        if refused:
            info["refused"] = refused[:1000]
        member.version, member.answered_at = self.current.version, self._clock()
        return Answer(Message(Kind.ANSWER, self._name, self.term, self.current.version, arrays=arrays, info=info))

    def restore(self, tensors: Mapping[str, Tensor], merged: Mapping[str, int], limits: Mapping[str, Any]) -> None:
        """See ``RunSide``."""
        for mine, name in ((self._state, "optimizer"), (self._count, "optimizer_steps")):
            if name in tensors:
                copy_exactly(mine, tensors[name], f"the checkpoint's {name}")
        self._updates = int(self._count)
        if "error" in tensors:
            self._coding.restore(tensors["error"])
        for child, counter in merged.items():
            self.members[child] = Member(child, merged_counter=counter)

    def saved(self) -> State:
        """See ``RunSide``."""
        with self._changed:
            merged = {name: member.merged_counter for name, member in self.members.items()}
            optimizer = {"optimizer": self._state.clone(), "optimizer_steps": self._count.clone()}
            return State(self.current, error=self._coding.error(), merged=merged, optimizer=optimizer)

    def close(self) -> None:
        """See ``RunSide``."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
