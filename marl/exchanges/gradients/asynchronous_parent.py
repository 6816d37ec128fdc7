"""The asynchronous form at the parent: each child's gradient moves the weights as it comes, and nobody waits."""

import time
from collections.abc import Callable

from marl.errors import MessageRefused, WeightsRefused
from marl.exchanges.base import ParentFacts
from marl.exchanges.child_reports import report_every
from marl.exchanges.gradients.memory import NOTHING, SUMS
from marl.exchanges.gradients.parent import GradientsParent
from marl.exchanges.gradients.parts import Part, length_of, part_of, shortening
from marl.exchanges.member import Member
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.sides import Answer, Global
from marl.failpoints import fail
from marl.wire.message import Array, Kind, Message, Value


class AsynchronousParent(GradientsParent):
    """See ``RunSide``. Only here is an optimizer.

    Each gradient is a mean over the transitions of one child, and makes a whole step, as that of each worker does in
    Hogwild: it is not divided by the number of children. Each answer has the newest weights, and the ``counter`` of the
    last part that came of this child. So a part that is sent again, after a break, counts once.
    """

    def __init__(
        self, facts: ParentFacts, settings: ExchangeSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(facts, settings, clock)
        self._lengths: dict[str, float] = {}  # of each child's last gradient
        self._norm = 0.0  # of the last gradient, before it was clipped
        self._unused: dict[str, int] = {}  # parts of each child since its last used one, which tells their steps
        if facts.children - 1 > settings.max_staleness:
            facts.note(
                f"exchange.max_staleness = {settings.max_staleness} drops most gradients of {facts.children} children: "
                f"expected {facts.children - 1} or more"
            )

    def _take(self, member: Member, upload: Message) -> Answer | None:
        """Move the weights along a child's gradient, unless it is too old or cannot be."""
        member.arrived += 1
        refused = ""
        if upload.counter > member.last_counter:
            member.last_counter = upload.counter
            self._unused[member.name] = self._unused.get(member.name, 0) + 1
            self._attendance.take(member.name, upload.info.get("busy"))
            try:
                self._use(member, upload)
            except MessageRefused as error:
                refused = str(error)
            self._attendance.end_round([member.name])
        return self._everything(member, refused=refused)

    def rejected(self, child: str, reason: str) -> Answer | None:
        """See ``ParentSide``."""
        if self.members[child].arriving == Kind.UPLOAD:
            self._unused[child] = self._unused.get(child, 0) + 1
        return super().rejected(child, reason)

    def _use(self, member: Member, upload: Message) -> None:
        """Move the weights.

        Raises:
            MessageRefused: the child is quarantined, or its gradient or its statistics cannot be.
        """
        child, now = member.name, self.current.version
        age, most = now - upload.version, self._settings.max_staleness
        is_too_old = upload.info.get("kind") != NOTHING and not 0 <= age <= most
        if upload.term != self.term or is_too_old:
            of = f"{age} versions old" if upload.term == self.term else "of an earlier parent"
            self._tell(
                (child, "stale"), f"a gradient of {child} is dropped: it is {of} (exchange.max_staleness = {most})"
            )
            return
        if member.is_quarantined(now):
            raise WeightsRefused(member.refusal or "")
        fail("parent.merging")
        workers = self._workers.get(child, 1)
        played = self._trajectory * workers * self._unused[child]
        try:
            upload = self._coding.decoded(child, upload)
            part = part_of(upload, most=float(self._most * workers), fastest=self._fastest)
            if part.kind == SUMS:
                raise WeightsRefused("expected a gradient, or nothing but steps, got sums")
            told = self._counts.told_by(child, upload, played)
        except MessageRefused as error:
            others = any(each.live for each in self.members.values() if each is not member)
            self._tell((child, "refused"), member.refuse(str(error), now if others else None))
            raise
        member.refused, member.merged_counter, self._unused[child] = 0, upload.counter, 0
        self._move(child, part, self._counts.add({child: told}, self._ranks))

    def _move(self, child: str, part: Part, steps: int) -> None:
        """Make a version of the weights."""
        before = self.current
        weights, version, updates = before.weights, before.version, before.updates or 0
        if part.transitions and part.numbers is not None:
            mean = part.numbers / part.transitions
            length = length_of(mean)
            factor = shortening(length, self._lengths.values(), self._settings.clip)
            self._lengths[child], self._norm = factor * length, length
            weights, version = weights.clone(), version + 1  # the last version is still being read
            self._updates, updates = self._updates + 1, updates + 1
            self._step.make(weights, mean * factor, norm=factor * length, rate=part.rate, updates=self._updates)
        self.current = Global(version, weights, self._counts.statistics, before.steps + steps, updates=updates)

    def _everything(self, member: Member, *, taken: bool = False, refused: str = "") -> Answer:
        """The newest weights, and whether the last part that came of the child has moved them."""
        now = self.current
        taken = taken or (member.merged_counter == member.last_counter and not refused)
        arrays: dict[str, Array] = {"weights": now.weights}
        if now.statistics is not None:
            arrays["normalizer"] = now.statistics
        info: dict[str, Value] = {"steps": now.steps, "taken": taken, "codec": self._coding.name}
        info |= {"report_every": report_every(len(self.members)), "norm": self._norm}
        if refused:
            info["refused"] = refused[:1000]
        member.version, member.answered_at = now.version, self._clock()
        fields = Kind.ANSWER, self._name, self.term, now.version, member.last_counter
        return Answer(Message(*fields, arrays=arrays, info=info))
