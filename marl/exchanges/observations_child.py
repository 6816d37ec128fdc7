"""The observations exchange at a child: what environments answer goes up, actions come down. No weights ever do."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from marl.data.desk import ANSWERED, ASKED
from marl.data.shared import SharedBlock
from marl.errors import MessageRefused
from marl.exchanges.telemetry import EVERY, Reporter
from marl.exchanges.weights_child import LONGEST_SILENCE
from marl.failpoints import fail
from marl.wire.header import Header
from marl.wire.message import Kind, Message
from marl.wire.places import into, nowhere

PER_MESSAGE = 32  # desks at most
PAUSE = 0.0003  # seconds between two looks at the desks


class Asked(NamedTuple):
    """A desk whose actions are on their way."""

    worker: int
    group: int
    question: int


class ObservationsChild:
    """See ``ChildSide``. ``started`` is set once a parent is there: workers may begin."""

    def __init__(
        self,
        block: SharedBlock,
        *,
        name: str,
        restarts: Callable[[], int] = lambda: 0,
        note: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.started = threading.Event()
        self.version = self.epoch = 0
        self._block, self._name, self._restarts, self._note, self._clock = block, name, restarts, note, clock
        self._counts: npt.NDArray[np.int64] = block["desk_counts"].numpy()  # [M, G, 8]
        self._desks, self._actions = block["desks"], block["desk_actions"]
        self._seen = np.zeros(self._counts.shape[:2], np.int64)  # questions that have been sent
        self._waiting: deque[list[Asked]] = deque()  # one entry a message
        self._scratch = torch.zeros((PER_MESSAGE, *self._actions.shape[2:]), dtype=self._actions.dtype)
        self._reporter = Reporter(block)
        self._counter = 0
        self._last_report = clock()
        self._report_every = EVERY

    def hurry(self) -> None:
        """Observations are always sent at once."""

    def return_mean(self) -> float | None:
        """Of this child's last episodes."""
        return self._reporter.return_mean()

    def joined(self) -> None:
        """See ``ChildSide``. Questions that nobody has answered are asked again."""
        self._waiting.clear()
        self._seen[:] = self._counts[:, :, ANSWERED]
        self._last_report = self._clock()

    def leave(self) -> None:
        """The conversation is to end."""

    def left(self) -> None:
        """The conversation has ended: the environments stand still until another begins."""

    def outgoing(self) -> Iterator[Message]:
        """See ``ChildSide``."""
        now = self._clock()
        if now >= self._last_report + self._report_every:
            self._last_report = now
            yield self._reporter.message(self._name, self._restarts())
        if not self.started.is_set():
            return
        asked = self._counts[:, :, ASKED].copy()
        ready = np.argwhere(asked > self._seen)
        for start in range(0, len(ready), PER_MESSAGE):
            desks = [Asked(w, g, int(asked[w, g])) for w, g in ready[start : start + PER_MESSAGE].tolist()]
            self._counter += 1
            self._waiting.append(desks)
            for each in desks:
                self._seen[each.worker, each.group] = each.question
            arrays = {f"desk{number}": self._desks[each.worker, each.group] for number, each in enumerate(desks)}
            fail("child.asking")
            yield Message(Kind.UPLOAD, self._name, self.epoch, self.version, self._counter, arrays)

    def pause(self) -> float:
        """See ``ChildSide``."""
        return PAUSE

    def place(self, header: Header) -> Mapping[str, memoryview]:
        """See ``ChildSide``."""
        if header.kind is not Kind.ANSWER or not header.manifest:
            return nowhere(header)
        if not self._waiting:
            raise MessageRefused("expected no actions: nothing was asked")
        return into({"actions": self._scratch[: len(self._waiting[0])]})(header)

    def accept(self, message: Message) -> None:
        """See ``ChildSide``."""
        if message.kind is not Kind.ANSWER:
            self._note(f"{message.sender} sent a {message.kind}, which is not expected here")
            return
        self.epoch, self.version = message.epoch, message.version
        self._block["version"].fill_(message.version)
        pause = message.info.get("report_every")
        if isinstance(pause, (int, float)):
            self._report_every = min(max(EVERY, float(pause)), LONGEST_SILENCE)
        self.started.set()
        if "actions" not in message.arrays:
            return
        for number, each in enumerate(self._waiting.popleft()):
            counts = self._counts[each.worker, each.group]
            if counts[ASKED] == each.question:  # else a new worker has asked something else meanwhile
                self._actions[each.worker, each.group].copy_(self._scratch[number])
                counts[ANSWERED] = each.question

    def spoiled(self, reason: str) -> None:
        """See ``ChildSide``. The desks of that answer are asked about again."""
        self._note(f"actions cannot be used: {reason}")
        if self._waiting:
            for each in self._waiting.popleft():
                self._seen[each.worker, each.group] = each.question - 1
