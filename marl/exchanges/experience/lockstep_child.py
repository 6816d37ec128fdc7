"""A child in lockstep with the learner, see ``lockstep.py``; it says how long its workers were busy."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from marl.data.node.memory import BUSY, array
from marl.data.node.send_queue import RING_LENGTH, Posted
from marl.data.shared import SharedBlock
from marl.exchanges.child_reports import EVERY
from marl.exchanges.experience.child import ExperienceChild
from marl.exchanges.experience.lockstep import Parts
from marl.exchanges.virtual_time import BusyChild
from marl.wire.message import Kind, Message

LONGEST_LOOK = 0.05  # seconds until a message is noticed, while workers still play
SHORT_S = 1e-3  # for a message, between two looks


class LockstepChild(ExperienceChild):
    """See ``ChildSide``."""

    def __init__(self, block: SharedBlock, **named: Any) -> None:
        """See ``ExperienceChild``."""
        super().__init__(block, **named)
        self._parts, self._busy = Parts(block), BusyChild(array(block, "seconds")[:, BUSY])
        self._stop = array(block, "stop")
        self._count = 1  # trajectories of each worker for the next round
        self._begins = True  # the first answer of the conversation is to come
        self._came_last: Message | None = None  # its weights are for a round to come
        self._waiting: Callable[[], None] | None = None  # uses weights that have come too late for the last round
        self._spare = torch.zeros_like(self._scratch), torch.zeros_like(self._statistics)
        self._news_in = 0.0  # seconds of the round under way until the last message is there, in virtual time
        self._told_s, self._began_s = 0.0, 0.0  # busy seconds: as told last, and before the round under way

    def joined(self) -> None:
        """See ``ChildSide``."""
        super().joined()
        self._begins, self._came_last, self._waiting = True, None, None

    def outgoing(self) -> Iterator[Message]:
        """See ``ChildSide``."""
        yield from super().outgoing()
        if not self._begins and self._parts.are_sent():
            self._renew()
            self._parts.go_on(self._count)

    def _renew(self) -> None:
        """Use the newest weights that are there, in virtual time, when the round is uploaded."""
        came, self._came_last = self._came_last, None
        in_time = self._told_s - self._began_s >= self._news_in
        self._began_s = self._told_s
        if self._waiting is not None and not (came and in_time):
            self._waiting()
        self._waiting = None
        if came is None:
            return
        use = partial(self._use, came.term, came.version, self._scratch, self._statistics)
        if in_time:
            use()
        else:  # the next ones come into other memory
            self._waiting = use
            (self._scratch, self._statistics), self._spare = self._spare, (self._scratch, self._statistics)

    def pause(self) -> float:
        """See ``ChildSide``."""
        return SHORT_S if super()._may_send() else EVERY

    def accept(self, message: Message) -> None:
        """See ``ChildSide``."""
        count = message.info.get("trajectories")
        if isinstance(count, int):
            self._count = min(max(1, count), RING_LENGTH)
        news_in = message.info.get("news_in")
        if isinstance(news_in, float):
            self._news_in = news_in
        super().accept(message)
        if self._begins and message.kind is Kind.ANSWER:
            self._begins = False
            self._parts.begin(self._count)

    def rejected(self, reason: str) -> None:
        """See ``ChildSide``."""
        self._came_last = None  # the message came into the same memory
        super().rejected(reason)

    def _came(self, message: Message) -> None:
        if self._begins:
            super()._came(message)
        else:
            self._came_last = message  # workers play with the weights before until the round is sent

    def _may_send(self) -> bool:
        if not super()._may_send():
            return False
        before = time.thread_time()
        played = self._await_parts()
        self._busy.looked(time.thread_time() - before)
        return played

    def _await_parts(self) -> bool:
        until = time.monotonic() + LONGEST_LOOK
        self._parts.wait(lambda: time.monotonic() >= until or bool(self._stop[0]))
        return self._parts.are_played()

    def _upload(self, rollouts: list[Posted]) -> Message:
        upload, told = super()._upload(rollouts), self._busy.told()
        seconds = told.get("busy")
        self._told_s = seconds if isinstance(seconds, float) else self._told_s
        return upload._replace(info={**upload.info, **told})
