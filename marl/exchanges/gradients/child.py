"""The gradients exchange at a child: adds up its workers' parts of a round, moves the weights by the mean of all."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

import torch

from marl.data.node.bell import Bell
from marl.data.node.memory import STEPS, array
from marl.data.normalizer import RunningStatistics, as_row, merge, subtract
from marl.digests import name_of
from marl.errors import WeightsRefused
from marl.exchanges.base import ChildFacts
from marl.exchanges.child_reports import Reporter
from marl.exchanges.gradients.coding import PartCoding
from marl.exchanges.gradients.memory import ANEW, AWAY, BUSY, GRADIENT, KIND, NOTHING, NUMBER, STATE, SUMS, rounds_of
from marl.exchanges.gradients.rests import NodeRest, missed_answers
from marl.exchanges.gradients.step import Step
from marl.exchanges.virtual_time import BusyChild
from marl.failpoints import fail
from marl.wire.arrays import bytes_of
from marl.wire.header import Header
from marl.wire.message import Array, Kind, Message, Value, count_of
from marl.wire.receive_buffers import buffers_of, no_buffers

LONGEST_PAUSE = 0.05  # seconds until a stop is noticed
SHORT_S = 1e-3  # for a message of the parent, while workers still play


class GradientsChild:
    """See ``ChildSide``. ``started`` is set once weights are there: workers may begin.

    In deterministic mode, a break of the conversation changes nothing: workers keep their parts, and this side sends
    what the parent has not got, or asks again for what it has missed itself.
    """

    def __init__(self, facts: ChildFacts, clock: Callable[[], float] = time.monotonic) -> None:
        self.started = threading.Event()
        self.version = self.term = self.steps = 0
        self._name, self._note, self._clock, self._restarts = facts.name, facts.note, clock, facts.restarts
        self._normalizes, self._deterministic = facts.normalizes, facts.deterministic
        self._block = block = facts.block
        self._reporter, self._busy = Reporter(block, clock), BusyChild(array(block, "part_numbers")[:, BUSY])
        self._counters, self._part = array(block, "counters"), array(block, "part")
        self._numbers, self._stop = array(block, "part_numbers"), array(block, "stop")
        self._round_bell, self._part_bell = (Bell(array(block, name)) for name in ("round_bell", "part_bell"))
        self._round, self._norm = array(block, "round"), array(block, "round_norm")
        size, parameters = block["weights"].numel(), block["part_gradient"].shape[1]
        self._step = Step(facts.run, block["optimizer"], block["optimizer_steps"])
        self._gradient, self._coding = torch.zeros(parameters), PartCoding(parameters)
        self._rounds = rounds_of(facts.run)
        self._sums, self._total = torch.zeros_like(block["round_sums"]), torch.zeros_like(block["round_sums"])
        self._weights, self._state = torch.zeros(size), torch.zeros_like(block["optimizer"])
        self._count = torch.zeros(1)
        self._statistics = torch.zeros(block["observations"].shape[1], dtype=torch.float64)  # as they arrive
        self._uploaded: tuple[int, RunningStatistics | None] | None = None  # steps and observations in the upload
        self._base_steps = 0  # environment steps that earlier rounds have counted
        self._base_statistics: RunningStatistics | None = None
        self._rest = NodeRest(block, clock)
        self._wants_everything = self._wants_again = self._has_begun = False
        self._must_begin_anew = False  # this child has other weights than the parent
        self._differs: dict[str, Value] = {}  # what the parent is told of that
        self._leaving = threading.Event()

    def flush_stragglers(self) -> None:
        """See ``Serving``: a round ends without a child that is late."""

    def return_mean(self) -> float | None:
        """See ``Serving``."""
        return self._reporter.return_mean()

    def joined(self) -> None:
        """See ``ChildSide``. The first answer has everything."""
        self._reporter.joined()
        self._wants_everything = self._wants_again = self._has_begun = False
        if not self._deterministic:
            self._uploaded = None
            self._coding.forget()
        self._leaving.clear()

    def leave(self) -> None:
        """See ``Serving``."""
        self._leaving.set()

    def left(self) -> None:
        """See ``Serving``. Workers wait for a parent: alone they would learn something else than the others."""

    def remember(self) -> None:
        """See ``Serving``."""
        self._reporter.gather()

    def outgoing(self) -> Iterator[Message]:
        """See ``ChildSide``."""
        # In deterministic mode, report only between trajectories: the parent must get the same episodes each time.
        if not self._deterministic and self._reporter.due():
            yield from self._report()
        if self._wants_everything or self._wants_again:
            info = self._differs if self._wants_everything else {"again": True}
            self._wants_everything, self._wants_again, self._differs = False, False, {}
            yield Message(Kind.FULL, self._name, self.term, self.version, info=info)
        elif self._uploaded is not None or not self._has_begun:
            return
        elif self._rest.is_asked():
            if self._rest.is_complete():
                yield from self._report()
                yield self._message({"kind": NOTHING, "rest": True}, {})
        elif self._wait_for_parts():
            if self._deterministic and self.version % self._rounds == 0 and self._reporter.due():
                yield from self._report()
            yield self._upload()

    def _report(self) -> Iterator[Message]:
        return self._reporter.messages(self._name, self._restarts())

    def pause(self) -> float:
        """See ``ChildSide``."""
        return LONGEST_PAUSE if self._uploaded is not None or not self._has_begun else SHORT_S

    def _wait_for_parts(self) -> bool:
        """Whether all workers have written their parts; waits a little for the last ones."""
        before = time.thread_time()
        complete = self._look_for_parts()
        self._busy.looked(time.thread_time() - before)
        return complete

    def _look_for_parts(self) -> bool:
        until = self._clock() + LONGEST_PAUSE

        def is_over() -> bool:
            return self._is_complete() or self._clock() >= until or self._leaving.is_set() or bool(self._stop[0])

        self._part_bell.wait_for(is_over)
        return self._is_complete()

    def _is_complete(self) -> bool:
        here = self._part[:, STATE] != AWAY
        return bool(here.any() and (self._part[here, NUMBER] == self._round[0] + 1).all())

    def _upload(self) -> Message:
        kind, count, largest = self._add_up()
        info: dict[str, Value] = {"kind": kind, "count": count, **self._busy.told()}
        arrays: dict[str, Array] = {}
        if kind == GRADIENT:
            arrays |= self._coding.upload(self._gradient)
            info["rate"] = float(self._numbers[self._part[:, KIND] == GRADIENT, 1][0])
            info["largest"] = largest
        elif kind == SUMS:
            arrays["sums"] = self._sums
        fail("child.snapshot", bytes_of(self._gradient))
        return self._message(info, arrays)

    def _message(self, info: dict[str, Value], arrays: dict[str, Array]) -> Message:
        """An upload, which tells the steps and observations since the last one that was taken."""
        steps, statistics = int(self._counters[:, STEPS].sum()), self._base_statistics
        info["steps"] = steps - self._base_steps
        if self._normalizes and steps != self._base_steps:
            statistics = merge(self._block["observations"][1:].numpy())
            arrays["moments"] = torch.from_numpy(as_row(subtract(statistics, self._base_statistics)))
        self._uploaded = steps, statistics
        return Message(Kind.UPLOAD, self._name, self.term, self.version, self.version + 1, arrays, info)

    def _add_up(self) -> tuple[int, float, float]:
        """The workers' parts, in their order: kind of the sum, how many transitions it has, and the largest importance
        weight, by which all gradients in it are divided.
        """
        kind, count = NOTHING, 0.0
        with_gradient = (self._part[:, STATE] != AWAY) & (self._part[:, KIND] == GRADIENT)
        largest = float(self._numbers[with_gradient, 2].max(initial=0.0)) or 1.0
        for worker, row in enumerate(self._part):
            if row[STATE] == AWAY or row[KIND] == NOTHING:
                continue
            is_gradient = row[KIND] == GRADIENT
            name, total = ("part_gradient", self._gradient) if is_gradient else ("part_sums", self._sums)
            own = self._block[name][worker]
            scale = float(self._numbers[worker, 2]) / largest if is_gradient else 1.0
            torch.mul(own, scale, out=total) if kind == NOTHING else total.add_(own, alpha=scale)
            kind, count = int(row[KIND]), count + float(self._numbers[worker, 0])
        return kind, count, largest

    def receive_buffers(self, header: Header) -> Mapping[str, memoryview]:
        """See ``ChildSide``."""
        if header.kind is not Kind.ANSWER or not header.manifest:
            return no_buffers(header)
        known = {
            "weights": self._weights, "optimizer": self._state, "optimizer_steps": self._count,
            "sums": self._total, "normalizer": self._statistics, **self._coding.receive_tensors(),
        }  # fmt: skip
        came = {entry.name for entry in header.manifest}
        return buffers_of({name: tensor for name, tensor in known.items() if name in came})(header)

    def accept(self, message: Message) -> None:
        """See ``ChildSide``."""
        if message.kind is Kind.ANSWER:
            self._take(message)
        elif message.kind is Kind.TELEMETRY:
            self._reporter.acknowledged(message)
        elif message.kind is not Kind.FLUSH:
            self._note(f"{message.sender} sent a {message.kind}, which is not expected here")

    def rejected(self, reason: str) -> None:
        """See ``ChildSide``."""
        self._note(
            f"an answer cannot be used ({reason}); asking for {'it again' * self._deterministic or 'everything'}"
        )
        if self._deterministic:
            self._wants_again = True
            return
        self._coding.forget()
        self._wants_everything = True

    def _take(self, answer: Message) -> None:
        """Move on to the answer's version: by its mean gradient, or to its weights."""
        if self._has_only_missed(answer):
            return
        uploaded, self._uploaded = self._uploaded, None
        if refused := answer.info.get("refused"):
            self._note(f"the parent refused this child's part ({refused})")
        if uploaded is not None and answer.info.get("taken"):
            self._base_steps, self._base_statistics = uploaded
        everything, rested = "weights" in answer.arrays, bool(answer.info.get("rested"))
        if everything:
            self._begin_anew(answer)
        follows = everything or rested or self._follows(answer)
        self._coding.answered(answer.info)
        if not follows:
            self._wants_everything = self._must_begin_anew = True
            return
        self.steps = count_of(answer, "steps")
        self._block["base_steps"].fill_(self.steps)
        if "normalizer" in answer.arrays:
            self._block["observations"][0].copy_(self._statistics)
        self._reporter.obey(answer)
        self.term, self.version = answer.term, answer.version
        self._block["version"].fill_(answer.version)
        if self._rest.obey(answer.info):
            self._begin_interval()
        self._round[0] = self._ends(answer)  # last, and at once: now workers go on
        self._round_bell.ring()
        self._has_begun = True
        if everything:
            self.started.set()
        fail("child.applied")

    def _ends(self, answer: Message) -> int:
        """The number of the round that an answer ends."""
        times = int(self._round[0]) // ANEW + ("weights" in answer.arrays)
        return times * ANEW + answer.version

    def _has_only_missed(self, answer: Message) -> bool:
        """Whether this child can go on as if no message had been lost, in deterministic mode."""
        if not self._deterministic or not self.started.is_set() or self._must_begin_anew:
            return False
        missed = missed_answers(answer, self.term, self.version)
        if missed is None:
            return False
        self._wants_again, self._has_begun = bool(missed), True
        if not missed:
            self._uploaded = None  # the parent may lack it: send it again
        return True

    def _begin_interval(self) -> None:
        """Workers rest, and the parent lets them go on."""
        self._coding.forget()
        self._block["observations"][1:].zero_()  # so that sums are rounded as they would be after a resume
        self._base_statistics = None
        self._rest.end()

    def _begin_anew(self, answer: Message) -> None:
        """Take over weights and optimizer state."""
        self._block["weights"].copy_(self._weights)
        self._block["optimizer"].copy_(self._state)
        self._block["optimizer_steps"].copy_(self._count)
        self._must_begin_anew = False
        if not self.started.is_set():
            self._base_steps = int(self._counters[:, STEPS].sum())

    def _follows(self, answer: Message) -> bool:
        """Apply one round; False if this child cannot, or has other weights now than the parent."""
        if (answer.term, answer.version) != (self.term, self.version + 1):
            return False
        if "gradient" in answer.arrays or "encoded" in answer.arrays:
            rate, norm, updates = (answer.info.get(name) for name in ("rate", "norm", "updates"))
            if not isinstance(rate, float) or not isinstance(norm, float) or not isinstance(updates, int):
                return False
            try:
                mean = self._coding.decoded(answer)
            except WeightsRefused as error:
                self._note(f"a mean gradient cannot be used ({error}); asking for everything")
                return False
            self._step.make(self._block["weights"], mean, norm=norm, rate=rate, updates=updates)
            self._norm[0] = norm
        elif "sums" in answer.arrays:
            self._block["round_sums"].copy_(self._total)
        name = answer.info.get("hash")
        if name is None or name == name_of(bytes_of(self._block["weights"])):
            return True
        self._note("this child has computed other weights than the parent: it goes on from those of the parent")
        self._differs = {"differs": True}
        return False
