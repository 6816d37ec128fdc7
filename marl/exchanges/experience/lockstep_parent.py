"""The parent in lockstep with its children and its learner, see ``lockstep.py``: rounds, counted in virtual time."""

import threading
import time
from collections.abc import Mapping

from marl.data.node.trajectory_queue import TrajectoryQueue
from marl.errors import ConfigError
from marl.exchanges.experience.credit import ActorMember, Credit
from marl.exchanges.experience.lockstep import trajectories_a_round
from marl.exchanges.experience.parent import LONGEST_WAIT, ExperienceParent
from marl.exchanges.gradients.attendance import Attendance
from marl.exchanges.sides import Answer
from marl.exchanges.virtual_time import MOST_UNDER_WAY, RoundTimer
from marl.wire.message import Kind, Message

POLL_S = 0.0005  # seconds between two looks at the learner
LATE_S = 5.0  # seconds of this machine, on whose cores children may take turns, until a round does not wait any more
LEAST_UNDER_WAY = 2  # rounds: one is played while the learner learns from another
FIRST_S = 10.0  # seconds that the first round waits for children that have not come yet


class RoundCredit(Credit):
    """Gives each child credit for its part of one round, once a round. Call it only with the owner's lock held."""

    def __init__(
        self, queue: TrajectoryQueue, members: Mapping[str, ActorMember], *, children: int, batch: int, num_bytes: int
    ) -> None:
        """See ``Credit``."""
        super().__init__(queue, members, children=children, batch=batch, num_bytes=num_bytes)
        self.round = 0  # number of the open one
        self._given: dict[str, int] = {}  # number of the round that each child has last had credit for
        self._workers: dict[str, int] = {}
        self._children, self._batch = children, batch

    def assign(self, child: str, workers: int) -> None:
        """Set the number of a child's workers.

        Raises:
            ConfigError: the queue is too short for a round of all children.
        """
        self._workers[child] = workers
        if (round_ := self._round()) > (room := self._room()):
            raise ConfigError(
                f"exchange.queue: expected at least {round_} with clock.virtual = true, for a round of all "
                f"{sum(self._workers.values())} workers, got {room}"
            )

    def rounds_under_way(self) -> int:
        """How many rounds of all children so far the queue has room for, that of the learner included."""
        return min(MOST_UNDER_WAY, max(LEAST_UNDER_WAY, 1 + self._room() // max(1, self._round())))

    def _round(self) -> int:
        """Trajectories that all play for one."""
        return sum(map(self._part, self._workers))

    def _room(self) -> int:
        """Places beside those of the learner's batch: ``exchange.queue``."""
        return len(self._queue) - self._batch + 1

    def trajectories(self, child: str) -> int:
        """How many each of its workers plays for a round."""
        return trajectories_a_round(self._batch, self._children, self._workers[child])

    def _part(self, child: str) -> int:
        return self._workers[child] * self.trajectories(child)

    def join(self, child: str) -> None:
        """A conversation begins: the child has no credit."""
        self._given.pop(child, None)

    def share(self, member: ActorMember) -> int:
        """The child's part of the open round, if it has not had that yet and there is room."""
        if member.credit or self._given.get(member.name) == self.round:
            return 0
        kept = sum(each.credit for each in self._members.values() if each.live)
        part = self._part(member.name)
        return part if part <= self._queue.num_free() - kept else 0

    def grant(self, member: ActorMember) -> None:
        """See ``Credit``."""
        super().grant(member)
        if member.credit:
            self._given[member.name] = self.round


class LockstepParent(ExperienceParent):
    """See ``ParentSide``."""

    def begin(self, timer: RoundTimer, *, children: int, batch: int) -> None:
        """Set what is needed for rounds; called before any child joins.

        Args:
            children, batch: see ``Credit``.
        """
        timer.clock.under_way = LEAST_UNDER_WAY
        self._timer, self._children, self._batch = timer, children, batch
        self._changed = threading.Condition(self._lock)  # for the thread that watches the open round
        self._ended = threading.Condition(self._lock)  # for all others: the round is over
        self._attendance = Attendance(self._clock, timer, least_s=LATE_S)
        self._credit: RoundCredit = RoundCredit(
            self._trajectory_queue, self.members, children=children, batch=batch, num_bytes=self._newest.num_bytes
        )
        self._here: set[str] = set()  # children whose parts of the open round have come
        self._watched = -1  # number of the last round that some thread watches

    def assign_rank(self, child: str, rank: int, workers: int) -> None:
        """See ``RunSide``."""
        super().assign_rank(child, rank, workers)
        with self._lock:
            try:
                self._credit.assign(child, workers)
                self._timer.clock.under_way = self._credit.rounds_under_way()
            except ConfigError as error:
                self.failure = error
                raise

    def join(self, child: str) -> Answer:
        """See ``ParentSide``."""
        with self._lock:
            first = not any(each.live for each in self.members.values())
            self._attendance.join(child, first=first)
            self._credit.join(child)
        return super().join(child)

    def leave(self, child: str) -> None:
        """See ``ParentSide``."""
        super().leave(child)
        with self._changed:
            self._attendance.leave(child)
            self._changed.notify_all()

    def close(self) -> None:
        """See ``RunSide``."""
        with self._changed:
            super().close()
            self._changed.notify_all()
            self._ended.notify_all()

    def late(self, child: str) -> Answer | None:
        """Send the credit of a round that there was no room for; the reason of a refusal."""
        member = self.members[child]
        with self._lock:
            if self._closed or not (member.refusal or self._credit.share(member)):
                return None
        return self._reply(member)

    def rejected(self, child: str, reason: str) -> Answer | None:
        """See ``ParentSide``. What is lost of a part is not sent again: the round ends without it."""
        member = self.members[child]
        if member.arriving == Kind.UPLOAD:
            with self._changed:
                self._credit.free(member)
                self._attendance.lose(child)
                self._wait_if_whole(member)
        return super().rejected(child, reason)

    def _answer_upload(self, member: ActorMember, upload: Message) -> Answer | None:
        self._take(member, upload)
        with self._changed:
            self._attendance.take(member.name, upload.info.get("busy"))
            if not self._wait_if_whole(member) or self._closed:
                return None
        return self._reply(member)

    def _wait_if_whole(self, member: ActorMember) -> bool:
        """Wait for the end of the round, unless more of the child's part is to come. With the lock held."""
        if member.credit:
            return False
        self._here.add(member.name)
        self._changed.notify_all()
        self._wait_for_round()
        return True

    def _wait_for_round(self) -> None:
        """Until the learner has learned from the open round. With the lock held."""
        number = self._credit.round
        watches = self._watched != number  # one of the waiting threads looks at the learner and wakes the others
        self._watched = number
        while self._credit.round == number and not self._closed:
            if not watches:
                self._ended.wait(LONGEST_WAIT)
            elif not self._is_full():
                self._changed.wait(min(LONGEST_WAIT, max(POLL_S, self._attendance.due_at() - self._clock())))
            else:
                self._await_learner()

    def _is_full(self) -> bool:
        """Whether all parts are there, or time is up."""
        live = [name for name, member in self.members.items() if member.live]
        missing = self._children - len(self.members)
        if missing > 0 and not self._credit.round and self._clock() < self._attendance.due_at() + FIRST_S:
            return False
        return self._attendance.is_over(self._here, live)

    def _await_learner(self) -> None:
        """Until the learner has learned from all whole batches, which ends the round. It is another process: look again
        and again.
        """
        before = time.thread_time()
        while self._trajectory_queue.num_queued() >= self._batch and not self._closed:
            self._changed.wait(POLL_S)
        self._timer.looked(time.thread_time() - before)
        if not self._closed:
            self._attendance.end_round(self._here)
            self._here = set()
            self._credit.round += 1
            self._ended.notify_all()

    def _reply(self, member: ActorMember) -> Answer:
        """See ``ExperienceParent``; also how many trajectories each worker plays for a round, and when in the next
        one this message is there.
        """
        answer = super()._reply(member)
        with self._lock:
            news_in = self._timer.clock.news_in(member.name, self._newest.num_bytes)
        info = {**answer.message.info, "trajectories": self._credit.trajectories(member.name), "news_in": news_in}
        return answer._replace(message=answer.message._replace(info=info))
