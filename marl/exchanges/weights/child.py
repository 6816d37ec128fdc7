"""The weights exchange at a child: it uploads snapshots and applies new weights, without losing what it has learned.

Buffers of N floats lie beside the live ``shared`` weights: ``g``, the last global weights; ``s``, the snapshot that is
under way; a scratch, into which new weights arrive; and, with a codec that rounds, the rounding error.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

import torch

from marl.data.node.memory import BUSY, array
from marl.data.shared import SharedBlock
from marl.digests import name_of
from marl.errors import WeightsRefused
from marl.exchanges.child_reports import Reporter
from marl.exchanges.member import STILL
from marl.exchanges.merging.parts import Parts
from marl.exchanges.merging.rest import Rest
from marl.exchanges.settings import ExchangeSettings
from marl.exchanges.virtual_time import BusyChild
from marl.exchanges.weights.moments import ChildMoments
from marl.exchanges.weights.rounding import Rounding
from marl.exchanges.weights.unmerged import Pending, Unmerged
from marl.exchanges.weights.upload_schedule import Schedule
from marl.failpoints import fail
from marl.reports.history import record, recording
from marl.training.optimizers import Moment
from marl.wire.arrays import bytes_of
from marl.wire.header import Header
from marl.wire.message import Array, Kind, Message, Value, count_of
from marl.wire.receive_buffers import buffers_of, no_buffers

TOO_FAR_BEHIND = 4  # rounds; deltas of older weights are useless
LONGEST_PAUSE = 0.05  # seconds until a stop, or a trigger in steps, is noticed


class WeightsChild:
    """See ``ChildSide``. ``started`` is set once weights are there: workers may begin."""

    def __init__(
        self,
        block: SharedBlock,
        settings: ExchangeSettings,
        *,
        name: str,
        normalizes: bool,
        deterministic: bool = False,
        moments: Sequence[Moment] = (),
        restarts: Callable[[], int] = lambda: 0,
        note: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.started = threading.Event()
        self.version = self.term = self.steps = self._counter = 0
        self._settings = settings
        self._block, self._shared = block, block["weights"]
        self._schedule, self._rest = Schedule(settings.every, block, clock), Rest(block, clock)
        self._deterministic, self._barrier = deterministic, settings.barrier or deterministic
        self._name, self._normalizes, self._restarts = name, normalizes, restarts
        self._unmerged, self._moments = Unmerged(block), ChildMoments(block, moments)
        self._note, self._clock = note, clock
        self._reporter, self._busy = Reporter(block, clock), BusyChild(array(block, "seconds")[:, BUSY])
        size = self._shared.numel()
        self._g, self._s, self._scratch = torch.zeros(size), torch.zeros(size), torch.zeros(size)
        self._parts, self._rounding = Parts(size, settings.parts), Rounding(size)
        self._statistics = torch.zeros(block["observations"].shape[1], dtype=torch.float64)  # as they arrive
        self._pending: Pending | None = None
        self._wants_everything = self._caught_up = False

    def flush_stragglers(self) -> None:
        """Upload as soon as no broadcast is outstanding; may be called from any thread."""
        self._schedule.flush()

    def return_mean(self) -> float | None:
        """The mean return of this child's last episodes."""
        return self._reporter.return_mean()

    def joined(self) -> None:
        """See ``ChildSide``. The first broadcast says whether the last upload was merged; until then, do not upload."""
        self._reporter.joined()
        self._caught_up = False
        self._rest.broken.clear()

    def leave(self) -> None:
        """The conversation is to end: stop all waits; may be called from any thread."""
        self._rest.broken.set()

    def left(self) -> None:
        """The conversation has ended: workers that wait for a broadcast train on, except in deterministic mode."""
        if not self._deterministic:
            self._rest.let_go()

    def remember(self) -> None:
        """See ``Serving``."""
        self._reporter.gather()

    def outgoing(self) -> Iterator[Message]:
        """See ``ChildSide``."""
        # In deterministic mode, report only before uploads: the parent must get the same episodes each time.
        if not self._deterministic and self._reporter.due():
            yield from self._report()
        if self._wants_everything:
            self._wants_everything = False
            yield Message(Kind.FULL, self._name, self.term, self.version)
        elif self._becomes_due():
            self._schedule.begin(self._clock())
            if self._barrier and not (yield from self._wait_for_workers()):
                return
            upload = self._upload()
            if upload is not None:
                yield from self._report()  # first: the parent must know the steps of an upload before it merges it
                yield upload

    def pause(self) -> float:
        """See ``ChildSide``."""
        return LONGEST_PAUSE

    def receive_buffers(self, header: Header) -> Mapping[str, memoryview]:
        """See ``ChildSide``."""
        if header.kind is not Kind.ANSWER or not header.manifest:
            return no_buffers(header)
        expected = ({"normalizer": self._statistics} if self._normalizes else {}) | self._moments.expected(header)
        if self._rounding.codec is not None and any(entry.name == "change" for entry in header.manifest):
            size = self._rounding.codec.num_bytes(self._parts.length(header.version - 1))
            return buffers_of({"change": self._rounding.down[:size], **expected})(header)
        if any(entry.name == "part" for entry in header.manifest):
            return buffers_of({"part": self._scratch[self._parts.of(header.version - 1)], **expected})(header)
        return buffers_of({"weights": self._scratch, **expected})(header)

    def accept(self, message: Message) -> None:
        """See ``ChildSide``."""
        if message.kind is Kind.FLUSH:
            self._schedule.flush()
        elif message.kind is Kind.ANSWER:
            self._take(message)
        elif message.kind is Kind.TELEMETRY:
            self._reporter.acknowledged(message)
        else:
            self._note(f"{message.sender} sent a {message.kind}, which is not expected here")

    def rejected(self, reason: str) -> None:
        """See ``ChildSide``."""
        self._note(f"an answer cannot be used ({reason}); asking for full weights")
        self._wants_everything = True

    def _report(self) -> Iterator[Message]:
        return self._reporter.messages(self._name, self._restarts())

    def _becomes_due(self) -> bool:
        if self._pending is not None or not self._caught_up or self._schedule.is_put_off(self._clock()):
            return False
        self._rest.hold()
        return self._schedule.becomes(self._is_due, self._busy.looked)

    def _is_due(self) -> bool:
        if self._rest.broken.is_set() or (self._barrier and self._rest.is_complete()):
            return not self._rest.broken.is_set()
        return not self._deterministic and self._schedule.is_due(self._clock(), self._unmerged.work())

    def _upload(self) -> Message | None:
        """Make an upload; None if the weights are not finite."""
        pending = self._unmerged.until_now(self._counter + 1)
        self._schedule.snapshot_taken()
        info: dict[str, Value] = {"work": pending.work, **self._busy.told()}
        arrays: dict[str, Array] = {"moments": self._unmerged.statistics(pending)} if self._normalizes else {}
        self._s.copy_(self._shared)
        fail("child.snapshot", bytes_of(self._s))
        try:
            arrays |= self._encoded() | self._moments.upload(info)
        except WeightsRefused as error:
            self._note(f"this child's weights cannot be used ({error}): it goes on from the global ones")
            self._shared.copy_(self._g)
            self._start_over()
            self._rest.end()
            return None
        self._counter, self._pending = pending.counter, pending
        whole = self._s if self._rounding.codec is None else None
        record("upload", weights=whole, child=self._name, epoch=self.term, version=self.version, counter=self._counter,
               work=pending.work)  # fmt: skip
        return Message(Kind.UPLOAD, self._name, self.term, self.version, self._counter, arrays, info)

    def _encoded(self) -> dict[str, Array]:
        """The arrays of the upload that hold the snapshot, or the part of it whose turn it is.

        Raises:
            WeightsRefused: it is not finite.
        """
        if self._rounding.codec is None:
            return {"weights": self._s[self._part]}
        return {"change": self._rounding.encode_delta(self._s, self._g, self._part)}

    @property
    def _part(self) -> slice:
        """What the next upload has of the weights, or that which is under way."""
        return self._parts.of(self.version)

    def _take(self, broadcast: Message) -> None:
        """Go on from the broadcast's weights."""
        if not self._read(broadcast):
            self._wants_everything = True
            return
        fail("child.answer", bytes_of(self._scratch))
        steps = count_of(broadcast, "steps")
        self._moments.receive(broadcast)
        pending, self._pending, self._caught_up = self._pending, None, True
        merged = pending is not None and broadcast.info.get("merged") == pending.counter
        refused = broadcast.info.get("refused")
        if refused:
            self._note(f"the parent refused this child's weights ({refused}): it goes on from the global ones")
        given_up = bool(refused) or self._is_far_behind(broadcast) or not self.started.is_set()
        # The upload was lost. In deterministic mode workers still rest, so the same upload is made again.
        again = self._deterministic and pending is not None and not merged and not given_up
        again = again and (broadcast.term, broadcast.version) == (self.term, self.version)
        if given_up:
            self._shared.copy_(self._scratch)
            self._start_over()
        else:
            self._move(broadcast, merged)
        if merged and pending is not None and not given_up:
            self._unmerged.merged(pending)
            self._moments.merged(exactly=self._rest.is_asked())
        self._g, self._scratch = self._scratch, self._g
        if recording():
            counter = pending.counter if pending else 0
            record("applied", weights=self._g, child=self._name, epoch=broadcast.term, version=broadcast.version,
                   counter=counter, merged=merged, refused=bool(refused))  # fmt: skip
        self.term, self.version = broadcast.term, broadcast.version
        self.steps = steps
        self._block["base_steps"].fill_(steps)
        if self._normalizes and "normalizer" in broadcast.arrays:
            self._block["observations"][0].copy_(self._statistics)
        self._block["version"].fill_(broadcast.version)  # last: workers watch it to see new weights
        self._rounding.use(broadcast.info.get("codec"))
        self._reporter.obey(broadcast)
        if not again:
            self._rest.end()
        self.started.set()
        fail("child.applied")

    def _is_far_behind(self, broadcast: Message) -> bool:
        most = self.version + TOO_FAR_BEHIND * self._parts.count
        return broadcast.term == self.term and broadcast.version > most

    def _move(self, broadcast: Message, merged: bool) -> None:
        """Move the live weights to those in the scratch, and keep what was learned meanwhile."""
        if not merged and broadcast.version == self.version and broadcast.term == self.term:
            return  # the same weights again
        if not merged:
            self._shared.add_(torch.sub(self._scratch, self._g, out=self._s))
            return
        part, rests = self._part, self._rest.is_asked()
        if not rests or self._parts.count > 1:
            sent = self._parts.with_part(self.version, self._g, self._s)
            self._shared.add_(torch.sub(self._scratch, sent, out=self._s))
        if rests:
            self._shared[part].copy_(self._scratch[part])  # an exact copy: nothing was learned meanwhile
        self._rounding.merged(part)

    def _read(self, broadcast: Message) -> bool:
        """Put the new weights into the scratch; False if this child lacks the weights that they are based on."""
        if "weights" in broadcast.arrays:
            return True
        if broadcast.info.get("base") != self.version or broadcast.term != self.term or not self.started.is_set():
            return False
        if "change" not in broadcast.arrays and "part" not in broadcast.arrays:  # no round since
            self._scratch.copy_(self._g)
            return True
        self._parts.fill(self.version, self._scratch, self._g)
        if "part" in broadcast.arrays:
            return True
        new = self._scratch[self._part]
        try:
            self._rounding.decode(self._g[self._part], new)
        except WeightsRefused as error:
            self._note(f"a change of the weights cannot be used ({error}); asking for full weights")
            return False
        return broadcast.info.get("hash") == name_of(bytes_of(new))

    def _start_over(self) -> None:
        """Give up what was learned but not merged."""
        self._unmerged.give_up()
        self._moments.start_over()
        self._rounding.forget()

    def _wait_for_workers(self) -> Generator[Message, None, bool]:
        """Wait until all workers rest. False if some do not: then all play on, and there is no upload for a while.

        During the wait, reports are sent. If the link has ended, sending a report raises.
        """
        for moves in self._rest.begin(self._unmerged.work):
            if not moves:
                self._note(f"no worker made a step for {STILL:g} s and some do not come to rest: no upload this time")
                self._schedule.put_off(self._clock() + STILL)
                self._rest.let_go()
                return False
            if self._reporter.due():
                yield from self._report()
        return True
