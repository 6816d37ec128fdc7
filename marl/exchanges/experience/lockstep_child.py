"""A child in lockstep with the learner, see ``lockstep.py``; it says how long its workers were busy."""

import time
from collections.abc import Iterator
from typing import Any

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
        self._next: Message | None = None  # its weights are for the next round

    def joined(self) -> None:
        """See ``ChildSide``."""
        super().joined()
        self._begins, self._next = True, None

    def outgoing(self) -> Iterator[Message]:
        """See ``ChildSide``."""
        yield from super().outgoing()
        if not self._begins and self._parts.are_sent():
            if self._next is not None:
                self._use(self._next.term, self._next.version)
                self._next = None
            self._parts.go_on(self._count)

    def pause(self) -> float:
        """See ``ChildSide``."""
        return SHORT_S if super()._may_send() else EVERY

    def accept(self, message: Message) -> None:
        """See ``ChildSide``."""
        count = message.info.get("trajectories")
        if isinstance(count, int):
            self._count = min(max(1, count), RING_LENGTH)
        super().accept(message)
        if self._begins and message.kind is Kind.ANSWER:
            self._begins = False
            self._parts.begin(self._count)

    def rejected(self, reason: str) -> None:
        """See ``ChildSide``."""
        self._next = None  # the message came into the same memory
        super().rejected(reason)

    def _came(self, message: Message) -> None:
        if self._begins:
            super()._came(message)
        else:
            self._next = message  # workers play with the weights before until the round is sent

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
        upload = super()._upload(rollouts)
        return upload._replace(info={**upload.info, **self._busy.told()})
