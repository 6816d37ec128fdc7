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
from marl.exchanges.child_reports import acknowledge, report_buffers, report_every, report_of
from marl.exchanges.gradients.attendance import Attendance
from marl.exchanges.gradients.coding import Coding
from marl.exchanges.gradients.memory import GRADIENT, SUMS, most_transitions, num_sums, rounds_of
from marl.exchanges.gradients.parts import Part, length_of, part_of, total_of
from marl.exchanges.gradients.settings import EXACT
from marl.exchanges.gradients.step import Step
from marl.exchanges.member import Member
from marl.exchanges.observation_statistics import SEEN_PER_STEP, Observed
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.sides import Answer, Global, State
from marl.failpoints import fail
from marl.log_throttle import LogThrottle
from marl.training.saved.weights_file import copy_exactly
from marl.wire.arrays import bytes_of, digest_of
from marl.wire.header import Header
from marl.wire.message import Array, Kind, Message, Value, count_of, tensor_of
from marl.wire.receive_buffers import buffers_of, no_buffers

LONGEST_WAIT = 0.5  # seconds until a conversation checks again
COMPARE_EVERY = 100  # rounds after which all compare their weights


class GradientsParent:
    """See ``RunSide``. One lock guards everything; it is held while parts are added up, never while one travels."""

    def __init__(
        self, facts: ParentFacts, settings: ExchangeSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        run = facts.run
        self.term, self.members = facts.term, dict[str, Member]()
        self._name, self._hear, self._clock = facts.name, facts.hear, clock
        self._settings = settings
        self._tell = LogThrottle(facts.note, clock=clock)
        self._changed, self._closed = threading.Condition(), False
        self._ranks: dict[str, int] = {}
        self._workers: dict[str, int] = {}
        self._attendance = Attendance(clock, facts.timer)
        self._observed = (
            Observed(facts.observation_size, facts.statistics, facts.sample) if facts.observation_size else None
        )
        row = None if self._observed is None else self._observed.statistics
        self._size, self._parameters = facts.weights.numel(), facts.num_parameters
        self.current = Global(facts.version, facts.weights.clone(), row, facts.steps, updates=0)
        self._state, self._count = torch.zeros(2, self._parameters), torch.zeros(1)
        self._step, self._updates = Step(run, self._state, self._count), 0
        self._trajectory, self._most = run.algorithm.t_max * run.environment.per_worker, most_transitions(run)
        self._fastest = max(run.algorithm.learning_rate, run.algorithm.final_learning_rate)
        sums, rounds = num_sums(run), rounds_of(run)
        self._coding = Coding(settings.codec, parameters=self._parameters, sums=sums, rounds=rounds, note=facts.note)
        self._parts: dict[str, Part] = {}
        self._steps = 0  # of the open round's parts
        self._last: Answer | None = None  # of the round that was closed last
        self._unheard: set[str] = set()  # children whose report the end of the run waits for

    def assign_rank(self, child: str, rank: int, workers: int) -> None:
        """See ``RunSide``."""
        with self._changed:
            self._ranks[child], self._workers[child] = rank, workers

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

    def forget(self, child: str) -> None:
        """See ``RunSide``."""
        with self._changed:
            if before := self.members.get(child):
                self.members[child] = before.started_anew()

    def receive_buffers(self, child: str, header: Header) -> Mapping[str, memoryview]:
        """See ``ParentSide``."""
        self.members[child].arriving = header.kind
        if header.kind is Kind.TELEMETRY:
            return report_buffers(header)
        if header.kind is not Kind.UPLOAD or not header.manifest:
            return no_buffers(header)
        self.members[child].began_at = self._clock()
        known = self._coding.receive_tensors(child)
        if self._observed is not None:
            known["moments"] = torch.empty_like(self._observed.statistics)
        came = {entry.name for entry in header.manifest}
        return buffers_of({name: tensor for name, tensor in known.items() if name in came})(header)

    def answer(self, child: str, message: Message) -> Answer | None:
        """See ``ParentSide``."""
        if message.kind is Kind.TELEMETRY:
            return self._hear_report(child, message)
        with self._changed:
            member = self.members[child]
            if message.kind is Kind.FULL:
                return self._everything(member)
            if message.kind is Kind.UPLOAD:
                return self._take(member, message)
        self._tell(child, f"{child} sent a {message.kind}, which is not expected here")
        return None

    def rejected(self, child: str, reason: str) -> Answer | None:
        """See ``ParentSide``."""
        if not self._closed:
            self._tell(child, f"a message of {child} cannot be used: {reason}")
        with self._changed:
            member = self.members[child]
            return None if member.arriving == Kind.TELEMETRY else self._everything(member)

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

    def _take(self, member: Member, upload: Message) -> Answer | None:
        """Add a part to the open round, and wait until the round is closed."""
        child, version = member.name, self.current.version
        member.arrived += 1
        if (upload.term, upload.version) != (self.term, version) or child in self._parts:
            return self._everything(member)
        fail("parent.merging")
        workers = self._workers.get(child, 1)
        played, most = self._trajectory * workers, float(self._most * workers)
        try:
            upload = self._coding.decoded(child, upload)
            part = part_of(upload, most=most, fastest=self._fastest)
            steps = min(count_of(upload, "steps"), played)
            if self._observed is not None and "moments" in upload.arrays:
                self._observed.add(child, tensor_of(upload, "moments"), 2.0 * SEEN_PER_STEP * played)
        except MessageRefused as error:
            self._tell((child, "refused"), f"a part of {child} is refused: {error}")
            return self._everything(member, refused=str(error))
        if part.kind == GRADIENT:
            self._coding.arrived(self._clock() - (member.began_at or 0.0))
        self._parts[child] = part
        self._steps += steps
        self._attendance.take(child, upload.info.get("busy"))
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
        statistics = before.statistics
        if self._observed is not None and statistics is not self._observed.statistics:
            statistics = arrays["normalizer"] = self._observed.statistics
        self.current = Global(version, weights, statistics, before.steps + self._steps, updates=updates)
        info["steps"], info["codec"] = self.current.steps, self._coding.name
        if version % COMPARE_EVERY == 0:
            info["hash"] = name_of(bytes_of(weights))
        self._last = Answer(
            Message(Kind.ANSWER, self._name, self.term, version, arrays=arrays, info=info), digest_of(arrays)
        )
        self._attendance.end_round(self._parts, waits=self._settings.form == EXACT or total.kind == SUMS)
        self._parts, self._steps = {}, 0

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
        if refused:
            info["refused"] = refused[:1000]
        member.version, member.answered_at = self.current.version, self._clock()
        return Answer(Message(Kind.ANSWER, self._name, self.term, self.current.version, arrays=arrays, info=info))

    def release(self) -> None:
        """See ``RunSide``."""

    def last_round(self, seconds: float) -> None:
        """See ``RunSide``. All rounds are in the weights; reports that count their steps come later: wait for them."""
        until = self._clock() + seconds
        with self._changed:
            self._unheard = {name for name, each in self.members.items() if each.live}
            while self._unheard and not self._closed and (left := until - self._clock()) > 0:
                self._changed.wait(min(LONGEST_WAIT, left))

    def audited(self) -> None:
        """See ``RunSide``: no child trains alone."""

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
