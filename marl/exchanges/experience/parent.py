"""The experience exchange at the parent: trajectories go to the learner's queue, new weights to the children.

Each child sends as many trajectories as it has credit for, see ``credit.py``.

New weights are sent together with new credit, which covers several trajectories. They are also sent whenever a child
has sent as many bytes as the weights have. So small weights are always fresh. Large weights wait until the child has
used its credit, because from then on the child sends nothing large. If both sides sent at the same time, they could
fill the buffers between them: neither would receive, and both would wait for ever.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from marl.data.layout import Layout
from marl.data.node.trajectory_queue import Published, TrajectoryQueue
from marl.data.normalizer import RunningStatistics
from marl.data.replay.rollout import check, num_steps
from marl.errors import MessageRefused
from marl.exchanges.child_reports import Hear, acknowledge, hear_all, read_report, report_buffers, report_every
from marl.exchanges.experience.credit import ActorMember, Credit
from marl.exchanges.experience.newest import Newest
from marl.exchanges.experience.seen import Seen
from marl.exchanges.experience.settings import PER_MESSAGE, packed_name, trajectory_name
from marl.exchanges.observation_statistics import Observed
from marl.exchanges.sides import Answer, Global, State
from marl.failpoints import fail
from marl.log_throttle import LogThrottle
from marl.wire.arrays import bytes_of
from marl.wire.header import Header
from marl.wire.message import Kind, Message, Value, tensor_of
from marl.wire.receive_buffers import buffers_of, no_buffers
from marl.wire.zstandard import unpack

LONGEST_WAIT = 0.5  # seconds until a conversation checks again
STARVED_WAIT = 0.002  # seconds per child, while a child waits for credit


class ExperienceParent:
    """See ``ParentSide``. One lock guards everything. It is not held while a trajectory travels or is checked, or
    while weights are read.
    """

    def __init__(
        self,
        trajectory_queue: TrajectoryQueue,
        published: Published,
        layout: Layout,
        num_weights: int,
        *,
        name: str,
        children: int = 1,
        batch: int = 1,
        unpacks: bool = False,
        observation_size: int = 0,
        statistics: RunningStatistics | None = None,
        sample: RunningStatistics | None = None,
        term: int = 0,
        steps: int = 0,
        hear: Hear = hear_all,
        note: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            children, batch: see ``Credit``.
            unpacks: children may send packed trajectories.
            observation_size, statistics, sample: see ``ParentFacts``.
        """
        self.term, self.steps = term, steps
        self.members: dict[str, ActorMember] = {}
        self.refused = 0  # trajectories
        self.failure: BaseException | None = None  # an error that no child and no new conversation can repair
        self._trajectory_queue, self._layout = trajectory_queue, layout
        self._name, self._hear, self._clock = name, hear, clock
        self._tell = LogThrottle(note, clock=clock)  # lines that children can cause, limited in number
        self._lock = threading.Lock()
        self._closed, self._unpacks = False, unpacks
        self._observed = Observed(observation_size, statistics, sample) if observation_size else None
        self._newest = Newest(published, num_weights, self._statistics_now)
        self._rollouts = [layout.open(memory) for memory in trajectory_queue.memory.unbind()]
        self._seen = None if self._observed is None else Seen(self._observed, len(self._rollouts[0]["priorities"]))
        self._credit = Credit(
            trajectory_queue, self.members, children=children, batch=batch, num_bytes=self._newest.num_bytes
        )

    @property
    def current(self) -> Global:
        """The newest weights."""
        latest = self._newest.read()
        with self._lock:
            return Global(latest.version, latest.flat(), self._copy_of_statistics(), self.steps)

    def _copy_of_statistics(self) -> Tensor | None:
        """The normaliser's statistics, with the lock held."""
        return None if self._observed is None else self._observed.statistics.clone()

    def _statistics_now(self) -> Tensor | None:
        with self._lock:
            return self._copy_of_statistics()

    def saved(self) -> State:
        """What a resumed parent needs beside the learner's own state."""
        return State(self.current)

    def restore(self, tensors: Mapping[str, Tensor], merged: Mapping[str, int], limits: Mapping[str, Any]) -> None:
        """Nothing to do: all state belongs to the learner, and is restored with it."""

    def close(self) -> None:
        """Give no more credit."""
        self._closed = True

    def audited(self) -> None:
        """None, see ``RunSide``: children upload no weights."""

    def catch_up(self, steps: int) -> None:
        """Nothing to do: steps count when they come."""

    def last_round(self, seconds: float) -> None:
        """Nothing to do: there are no rounds."""

    def release(self) -> None:
        """Nothing to do: no child waits for a version."""

    def assign_rank(self, child: str, rank: int, workers: int) -> None:
        """Only the number of workers matters here."""
        with self._lock:
            if self._seen is not None:
                self._seen.assign(child, workers)

    def forget(self, child: str) -> None:
        """The child was restarted: its counters begin at 0."""
        with self._lock:
            if child in self.members:
                self.members[child].last_counter = 0

    def join(self, child: str) -> Answer:
        """See ``ParentSide``."""
        with self._lock:
            member = self.members.setdefault(child, ActorMember(child))
            member.live, member.version, member.credit, member.granted = True, None, 0, 0
            if self._unpacks and not len(member.packed):
                member.packed = torch.empty(PER_MESSAGE, self._layout.num_bytes, dtype=torch.uint8)  # allocated lazily
        return self._reply(member)

    def leave(self, child: str) -> None:
        """See ``ParentSide``."""
        with self._lock:
            member = self.members[child]
            member.live, member.credit = False, 0
            self._credit.free(member)

    def receive_buffers(self, child: str, header: Header) -> Mapping[str, memoryview]:
        """See ``ParentSide``."""
        member = self.members[child]
        member.arriving = header.kind
        if header.kind is Kind.TELEMETRY:
            return report_buffers(header)
        if header.kind is not Kind.UPLOAD:
            return no_buffers(header)
        count = sum(entry.name != "moments" for entry in header.manifest)
        with self._lock:
            most = min(member.credit, PER_MESSAGE)
            if count > most:
                raise MessageRefused(f"expected at most {most} trajectories, got {count}")
            member.credit -= count
            expected: dict[str, Tensor] = {}
            packed = {entry.name: entry.nbytes for entry in header.manifest} if self._unpacks else {}
            for number in range(count):
                rollout, memory = self._trajectory_queue.place()
                member.placed.append(rollout)
                if 0 < packed.get(packed_name(number), 0) < len(memory):
                    expected[packed_name(number)] = member.packed[number][: packed[packed_name(number)]]
                else:
                    expected[trajectory_name(number)] = memory
            if self._seen is not None:
                expected["moments"] = self._seen.receive_tensor(child)
        fail("parent.receiving")
        return buffers_of(expected)(header)

    def answer(self, child: str, message: Message) -> Answer | None:
        """See ``ParentSide``."""
        member = self.members[child]
        if message.kind is Kind.TELEMETRY:
            try:
                return acknowledge(self._name, child, read_report(message), self._hear)
            except MessageRefused as error:  # only this report is lost
                self._tell(child, str(error))
                return None
        if message.kind is Kind.FULL:
            member.version = None
            return self._reply(member)
        if message.kind is not Kind.UPLOAD:
            self._tell(child, f"{child} sent a {message.kind}, which is not expected here")
            return None
        return self._answer_upload(member, message)

    def rejected(self, child: str, reason: str) -> Answer | None:
        """See ``ParentSide``."""
        if not self._closed:
            self._tell(child, f"a message of {child} cannot be used: {reason}")
        member = self.members[child]
        if member.arriving == Kind.TELEMETRY:
            return None
        with self._lock:
            self._credit.free(member)
            member.refusal = reason
        return self._reply(member)

    def patience(self, child: str) -> float:
        """See ``ParentSide``."""
        if self.members[child].credit:
            return LONGEST_WAIT
        return min(LONGEST_WAIT, STARVED_WAIT * max(1, sum(each.live for each in self.members.copy().values())))

    def late(self, child: str) -> Answer | None:
        """Send credit if there is room, weights if they are due (see the top of this file), the reason of a refusal."""
        member = self.members[child]
        with self._lock:
            earned = member.sent_bytes >= self._newest.num_bytes and member.version != self._newest.version()
            earned = earned and not self._credit.may_be_sending(member)
            if self._closed or not (earned or member.refusal or self._credit.share(member)):
                return None
        return self._reply(member)

    def _answer_upload(self, member: ActorMember, upload: Message) -> Answer | None:
        self._take(member, upload)
        return self.late(member.name)

    def _take(self, member: ActorMember, upload: Message) -> None:
        """Queue the trajectories of an upload. If one of them is not valid, only that one is refused."""
        with self._lock:
            placed, member.placed = member.placed, []
            member.sent_bytes += sum(len(bytes_of(each)) for each in upload.arrays.values())
            quarantined = member.is_quarantined(int(self._clock()))
            repeated = upload.counter <= member.last_counter
            member.last_counter = max(member.last_counter, upload.counter)
        if quarantined or repeated:
            self._credit.discard(placed)
            return self._refuse(member, len(placed), "" if quarantined else f"upload {upload.counter} came before")
        clean = True
        if self._seen is not None:  # first: if a snapshot counts steps, it also has their statistics
            try:
                with self._lock:
                    self._seen.learn(member, tensor_of(upload, "moments"), len(placed))
            except MessageRefused as error:
                self._refuse(member, 0, str(error))
                clean = False
        for number, rollout in enumerate(placed):
            opened = self._rollouts[rollout]
            try:
                if packed_name(number) in upload.arrays:
                    unpack(tensor_of(upload, packed_name(number)), self._trajectory_queue.memory[rollout])
                check(opened, self._layout)
            except MessageRefused as error:
                self._trajectory_queue.discard(rollout)
                self._refuse(member, 1, str(error))
                clean = False
                continue
            steps = num_steps(opened)
            fail("parent.queueing")
            self._trajectory_queue.queue(rollout)
            with self._lock:
                member.merged_counter = upload.counter
                self.steps += steps
        if clean and placed:
            with self._lock:
                member.refused = 0

    def _refuse(self, member: ActorMember, count: int, reason: str) -> None:
        """Count refused trajectories; report the reason, if there is one."""
        with self._lock:
            self.refused += count
            said = member.refuse(reason, int(self._clock())) if reason else ""
            quarantined = bool(reason) and not member.refused
        if said:
            self._tell((member.name, "quarantined" if quarantined else "refused"), said)

    def _reply(self, member: ActorMember) -> Answer:
        """The newest weights if the child lacks them, and credit."""
        latest = self._newest.read()
        with self._lock:
            waits = self._credit.may_be_sending(member)
            if not self._closed:
                self._credit.grant(member)
            refusal, member.refusal = member.refusal, None
            info: dict[str, Value] = {"credit": member.granted, "steps": self.steps}
            info["report_every"] = report_every(len(self.members))
            if refusal:
                info["refused"] = refusal[:1000]
            member.answered_at = self._clock()
            if waits or member.version == latest.version:
                return Answer(Message(Kind.ANSWER, self._name, self.term, latest.version, info=info))
            member.version, member.sent_bytes = latest.version, 0
        message = Message(Kind.ANSWER, self._name, self.term, latest.version, arrays=latest.arrays, info=info)
        return Answer(message, latest.digest)
