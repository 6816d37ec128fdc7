"""The asynchronous form at a child: its workers learn together, and the parent answers each gradient by new weights."""

import time
from collections.abc import Callable

from marl.exchanges.base import ChildFacts
from marl.exchanges.gradients.child import LONGEST_PAUSE, GradientsChild
from marl.exchanges.gradients.memory import AWAY, GRADIENT, KIND, NOTHING, STATE, SUMS, rounds_of
from marl.wire.message import Message


class AsynchronousChild(GradientsChild):
    """See ``ChildSide``. Rounds are this child's own: only those with a gradient have an upload, and the last one of a
    trajectory that had no gradient, to tell its steps.

    Weights move when a round ends, never before: workers then wait. So nothing is special about a child that joins
    again: it goes on with the weights that it has, and the parent says whether its gradient is too old.
    """

    def __init__(self, facts: ChildFacts, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(facts, clock)
        self._rounds_of_trajectory = rounds_of(facts.run)
        self._ended = 0  # rounds whose upload was answered
        self._has_told = False  # the steps of this trajectory

    def joined(self) -> None:
        """See ``ChildSide``. The first answer tells whether the upload of the last conversation has come."""
        under_way = self._uploaded
        super().joined()
        self._uploaded = under_way

    def _wait_for_parts(self) -> bool:
        """Whether there is something to upload. Ends the rounds that have nothing."""
        until = self._clock() + LONGEST_PAUSE
        while super()._wait_for_parts():
            kinds = self._part[self._part[:, STATE] != AWAY, KIND]
            is_last = (self._round[0] + 1) % self._rounds_of_trajectory == 0
            if (kinds == GRADIENT).any() or (is_last and not self._has_told and (kinds == NOTHING).all()):
                self._has_told = not is_last
                return True
            self._has_told = self._has_told and not is_last
            if (kinds == SUMS).any():
                self._add_up()
                self._block["round_sums"].copy_(self._sums)
            self._busy.waited()
            self._round[0] += 1
            self._round_bell.ring()
            if self._clock() >= until:  # for a message of the parent
                break
        return False

    def _upload(self) -> Message:
        return super()._upload()._replace(counter=self._ended + 1)

    def _take(self, answer: Message) -> None:
        """Go on with the newest weights, if workers wait for them."""
        has_come = answer.counter == self._ended + 1
        if self.started.is_set():
            if self._uploaded is not None and not self._has_begun and not has_come:
                self._uploaded = None  # lost with the last conversation: send it again
            if self._uploaded is None:
                self._coding.answered(answer.info)
                self._has_begun = True
                return
            self._ended += 1
        taken, norm = has_come and bool(answer.info.get("taken")), answer.info.get("norm")
        self._norm[0] = norm if taken and isinstance(norm, float) else float("inf")  # workers count it as skipped
        super()._take(answer._replace(info={**answer.info, "taken": taken}))

    def _ends(self, unused_answer: Message) -> int:
        return int(self._round[0]) + self.started.is_set()
