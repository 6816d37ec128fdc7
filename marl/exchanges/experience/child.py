"""The experience exchange at a child: trajectories up as they are played, the newest weights down.

The parent says how many trajectories the child may send in this conversation (credit). The child sends no more, so
each upload finds room when it arrives. Meanwhile workers fill the send queue, then wait. If a conversation breaks, the
trajectories under way are lost: they are never sent twice.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from marl.data.node.send_queue import Posted, Sender
from marl.data.normalizer import RunningStatistics, as_row, merge, subtract
from marl.data.shared import SharedBlock
from marl.exchanges.child_reports import EVERY, Reporter
from marl.exchanges.experience.settings import PER_MESSAGE, packed_name, trajectory_name
from marl.failpoints import fail
from marl.wire.header import Header
from marl.wire.message import Array, Kind, Message
from marl.wire.receive_buffers import buffers_of, no_buffers
from marl.wire.zstandard import pack

PAUSE = 0.002  # seconds between two looks at the send queue


class ExperienceChild:
    """See ``ChildSide``. ``started`` is set once weights are there: workers may begin."""

    def __init__(
        self,
        block: SharedBlock,
        *,
        name: str,
        normalizes: bool,
        packs: bool = False,
        restarts: Callable[[], int] = lambda: 0,
        note: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.started = threading.Event()
        self.version = self.term = self.steps = 0
        self._block, self._shared = block, block["weights"]
        self._name, self._normalizes, self._packs, self._restarts = name, normalizes, packs, restarts
        self._note = note
        self._sender, self._reporter = Sender(block), Reporter(block, clock)
        self._scratch = torch.zeros_like(self._shared)
        self._statistics = torch.zeros(block["observations"].shape[1], dtype=torch.float64)  # as they arrive
        self._under_way: list[Posted] = []
        self._told: RunningStatistics | None = None  # statistics of observations that were sent already
        self._granted = self._sent = 0  # trajectories, in this conversation
        self._counter = 0
        self._wants_everything = False

    def flush_stragglers(self) -> None:
        """Nothing to do: trajectories are always sent as soon as there is credit."""

    def return_mean(self) -> float | None:
        """The mean return of this child's last episodes."""
        return self._reporter.return_mean()

    def joined(self) -> None:
        """See ``ChildSide``. Trajectories under way are given up, because they may have arrived."""
        self._granted = self._sent = 0
        self._reporter.joined()
        self._sender.taken(self._under_way)
        self._under_way = []

    def leave(self) -> None:
        """The conversation is to end."""

    def left(self) -> None:
        """The conversation has ended: workers play on until the send queue is full."""

    def remember(self) -> None:
        """See ``Serving``."""
        self._reporter.gather()

    def outgoing(self) -> Iterator[Message]:
        """See ``ChildSide``."""
        if self._reporter.due():
            yield from self._reporter.messages(self._name, self._restarts())
        if self._wants_everything:
            self._wants_everything = False
            yield Message(Kind.FULL, self._name, self.term, self.version)
        while self._may_send():
            rollouts = self._sender.waiting(min(self._granted - self._sent, PER_MESSAGE))
            if not rollouts:
                return
            self._under_way = rollouts
            self._sent += len(rollouts)
            self._counter += 1
            fail("child.posting")
            yield self._upload(rollouts)
            self._sender.taken(rollouts)  # they are sent: the link no longer needs their memory
            self._under_way = []

    def _upload(self, rollouts: list[Posted]) -> Message:
        arrays: dict[str, Array] = {}
        for number, rollout in enumerate(rollouts):
            packed = pack(rollout.memory) if self._packs else None
            if packed is None:
                arrays[trajectory_name(number)] = rollout.memory
            else:
                arrays[packed_name(number)] = packed
        if self._normalizes:
            statistics = merge(self._block["observations"][1:].numpy())
            arrays["moments"] = torch.from_numpy(as_row(subtract(statistics, self._told)))
            self._told = statistics
        return Message(Kind.UPLOAD, self._name, self.term, self.version, self._counter, arrays)

    def _may_send(self) -> bool:
        return self._granted > self._sent and self.started.is_set()

    def pause(self) -> float:
        """See ``ChildSide``. Without credit the pause can be long: an answer ends it at once."""
        return PAUSE if self._may_send() else EVERY

    def receive_buffers(self, header: Header) -> Mapping[str, memoryview]:
        """See ``ChildSide``."""
        if header.kind is not Kind.ANSWER or not header.manifest:
            return no_buffers(header)
        expected: dict[str, Tensor] = {"weights": self._scratch}
        if self._normalizes:
            expected["normalizer"] = self._statistics
        return buffers_of(expected)(header)

    def accept(self, message: Message) -> None:
        """See ``ChildSide``."""
        if message.kind is Kind.TELEMETRY:
            return self._reporter.acknowledged(message)
        if message.kind is not Kind.ANSWER:
            self._note(f"{message.sender} sent a {message.kind}, which is not expected here")
            return
        credit, steps = (message.info.get(name) for name in ("credit", "steps"))
        if isinstance(credit, int):
            self._granted = max(self._granted, credit)
        if isinstance(steps, int) and steps >= 0:
            self.steps = steps
            self._block["base_steps"].fill_(steps)
        self._reporter.obey(message)
        if message.info.get("refused"):
            self._note(f"trajectories were refused: {message.info['refused']}")
        if "weights" in message.arrays:
            self._came(message)

    def _came(self, message: Message) -> None:
        """New weights, and statistics, have arrived."""
        self._use(message.term, message.version, self._scratch, self._statistics)

    def _use(self, term: int, version: int, weights: Tensor, statistics: Tensor) -> None:
        """Let workers play with what has arrived."""
        if self._normalizes:
            self._block["observations"][0].copy_(statistics)
        self._shared.copy_(weights)
        self.term, self.version = term, version
        self._block["version"].fill_(version)  # after the weights: workers read the version first
        self.started.set()
        fail("child.applied")

    def rejected(self, reason: str) -> None:
        """See ``ChildSide``."""
        self._note(f"an answer cannot be used ({reason}); asking for full weights")
        self._wants_everything = True
