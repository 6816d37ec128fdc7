"""The observations exchange at a child: observations go up, actions come down, weights are never sent."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from marl.data.node.bell import Bell
from marl.data.requests import ANSWERED, ASKED, BEGUN, BELL, GROUPS, RequestLayout
from marl.data.shared import SharedBlock
from marl.errors import MessageRefused
from marl.exchanges.child_reports import Reporter
from marl.exchanges.observations.settings import PER_MESSAGE
from marl.exchanges.observations.transfer import RequestSender
from marl.failpoints import fail
from marl.wire.header import Header
from marl.wire.message import Kind, Message
from marl.wire.receive_buffers import buffers_of, no_buffers

SHORTEST_PAUSE, LONGEST_PAUSE = 0.0001, 0.002  # seconds between two looks at the slots
PATIENT = 0.1  # the pause before the next look, as a share of the time since a slot was last ready

Numbers = npt.NDArray[np.int64]


class Asked(NamedTuple):
    """Request slots whose actions have not arrived yet."""

    slots: Numbers  # [K]  counted over all workers and groups
    questions: Numbers  # [K]  numbers of the requests that were sent from these slots


class ObservationsChild:
    """See ``ChildSide``. ``started`` is set once a parent is there: workers may begin."""

    def __init__(
        self,
        block: SharedBlock,
        layout: RequestLayout,
        *,
        name: str,
        restarts: Callable[[], int] = lambda: 0,
        note: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.started = threading.Event()
        self.version = self.term = 0
        self._block, self._name, self._restarts, self._note, self._clock = block, name, restarts, note, clock
        # The request slots of all workers and groups, along one axis.
        self._counts: Numbers = block["request_counts"].flatten(0, 1).numpy()
        self._bells = [Bell(first[BELL:]) for first in self._counts[::GROUPS]]  # of the workers
        self._requests: npt.NDArray[np.uint8] = block["requests"].flatten(0, 1).numpy()
        self._actions: npt.NDArray[Any] = block["request_actions"].flatten(0, 1).numpy()
        self._seen = np.zeros(len(self._counts), np.int64)  # questions that have been sent
        self._under_way: dict[int, Asked] = {}  # by message
        self._sender = RequestSender(layout, len(self._counts))
        self._arriving: int | None = None  # the message that is being answered
        self._scratch = torch.zeros(
            PER_MESSAGE, *block["request_actions"].shape[2:], dtype=block["request_actions"].dtype
        )
        self._reporter = Reporter(block, clock)
        self._counter = 0
        self._last_ready = clock()

    def flush_stragglers(self) -> None:
        """Observations are always sent at once."""

    def return_mean(self) -> float | None:
        """The mean return of this child's last episodes; None if there are none."""
        return self._reporter.return_mean()

    def joined(self) -> None:
        """See ``ChildSide``. Questions that nobody has answered are asked again."""
        self._under_way.clear()
        self._seen[:] = self._counts[:, ANSWERED]
        self._sender.forget()
        self._reporter.joined()

    def leave(self) -> None:
        """The conversation is to end."""

    def left(self) -> None:
        """The conversation has ended: the environments stand still until another begins."""

    def remember(self) -> None:
        """See ``Serving``."""
        self._reporter.gather()

    def outgoing(self) -> Iterator[Message]:
        """See ``ChildSide``."""
        if self._reporter.due():
            yield from self._reporter.messages(self._name, self._restarts())
        if not self.started.is_set():
            return
        ready = np.flatnonzero(self._counts[:, ASKED] > self._seen)
        for start in range(0, len(ready), PER_MESSAGE):
            asked = self._copy(ready[start : start + PER_MESSAGE])
            if not len(asked.slots):
                continue
            self._last_ready = self._clock()
            self._counter += 1
            self._under_way[self._counter] = asked
            self._seen[asked.slots] = asked.questions
            fail("child.asking")
            arrays = self._sender.arrays(asked.slots)
            yield Message(Kind.UPLOAD, self._name, self.term, self.version, self._counter, arrays)

    def pause(self) -> float:
        """See ``ChildSide``. Workers cannot wake this thread, so it polls: less often the longer no slot was ready."""
        return min(max(SHORTEST_PAUSE, PATIENT * (self._clock() - self._last_ready)), LONGEST_PAUSE)

    def receive_buffers(self, header: Header) -> Mapping[str, memoryview]:
        """See ``ChildSide``."""
        self._arriving = None
        if header.kind is not Kind.ANSWER or not header.manifest:
            return no_buffers(header)
        asked = self._under_way.get(header.counter)
        if asked is None:
            raise MessageRefused(f"expected no actions for message {header.counter}: nothing was asked in it")
        self._arriving = header.counter
        return buffers_of({"actions": self._scratch[: len(asked.slots)]})(header)

    def accept(self, message: Message) -> None:
        """See ``ChildSide``."""
        if message.kind is Kind.TELEMETRY:
            return self._reporter.acknowledged(message)
        if message.kind is not Kind.ANSWER:
            self._note(f"{message.sender} sent a {message.kind}, which is not expected here")
            return
        self.term, self.version = message.term, message.version
        self._block["version"].fill_(message.version)
        self._reporter.obey(message)
        self.started.set()
        if "actions" not in message.arrays:
            return
        asked = self._under_way.pop(message.counter)
        wanted = self._counts[asked.slots, ASKED] == asked.questions  # else a new worker has asked something else
        slots = asked.slots[wanted]
        self._actions[slots] = self._scratch.numpy()[: len(wanted)][wanted]
        # Last: when a worker sees this count, the actions are already in place.
        self._counts[slots, ANSWERED] = asked.questions[wanted]
        for worker in set((slots // GROUPS).tolist()):
            self._bells[worker].ring()

    def rejected(self, reason: str) -> None:
        """See ``ChildSide``. The requests that this message answers are sent again."""
        self._note(f"actions cannot be used: {reason}")
        asked = self._under_way.pop(self._arriving, None) if self._arriving is not None else None
        if asked is not None:
            self._seen[asked.slots] = np.minimum(self._seen[asked.slots], asked.questions - 1)

    def _copy(self, slots: Numbers) -> Asked:
        """Copy the requests in these slots, so that no worker overwrites them. Leave out requests that change now."""
        questions = self._counts[slots, ASKED]
        place = self._sender.copied(len(slots))
        np.take(self._requests, slots, axis=0, out=place, mode="clip")
        whole = self._counts[slots, BEGUN] == questions  # else a new worker took the place of one that was killed
        if not whole.all():
            slots, questions = slots[whole], questions[whole]
            place[: len(slots)] = place[whole]
        return Asked(slots, questions)
