"""Reports of a child between two uploads: for the live table and the curves, and to notice environments that hang."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from marl.data.node.memory import MAX_METRICS, STEPS, UPDATES, array, ring
from marl.data.node.metrics import NAME, TOTALS, first_outside, read_metrics
from marl.data.ring import Ring
from marl.data.shared import SharedBlock
from marl.errors import MessageRefused
from marl.exchanges.member import Member
from marl.exchanges.sides import Answer
from marl.wire.header import Header
from marl.wire.message import Kind, Message, Value
from marl.wire.receive_buffers import new_buffers
from marl.words import printable

EVERY = 0.25  # seconds between two reports of a child
SHARE = 0.02  # the pause is this many seconds per child, or longer: a report costs the parent about 1 ms
METRIC, FIRST_OUTSIDE = "metric.", "first_outside"  # prefix of the metrics' names in a report, and a line of words
LONGEST_SILENCE = 10.0  # seconds between two reports, whatever the parent asks for
MAX_EPISODES = 4096  # in one message
MOST_KEPT = 2**20  # episodes that are not acknowledged: 16 MiB
MAX_WORKERS = 1024
MOST_WORDS = 500  # letters of a line
MOST_NUMBER = 1e30  # of a return or a metric, so that a mean of many is finite
MOST_STEPS = 2**50  # of one worker since the child started: the sum over all workers fits 64 bits


class Report(NamedTuple):
    """A child's numbers since it joined."""

    steps: npt.NDArray[np.int64]  # [M] environment steps of each worker
    updates: int
    restarts: int
    metrics: dict[str, float]
    first: int  # how many episodes ended before the ones below
    returns: npt.NDArray[np.float64]  # [E] of the episodes that the parent has not acknowledged
    lengths: npt.NDArray[np.int64]  # [E]
    first_outside: str = ""  # the first observation that was outside its space, in words


Hear: TypeAlias = Callable[[str, Report], int]  # takes a report; returns how many episodes have arrived in all


def report_every(num_children: int) -> float:
    """Seconds between two reports of one child, of ``num_children``."""
    return max(EVERY, SHARE * num_children)


def hear_all(unused_child: str, report: Report) -> int:
    """Acknowledge a report that nobody reads."""
    return report.first + len(report.returns)


class Reporter:
    """Reads the node's memory for a child's reports.

    A report counts everything since the child joined, and repeats every episode that the parent has not acknowledged.
    So a lost report does no harm.
    """

    def __init__(self, block: SharedBlock, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._every, self._last = clock, EVERY, clock()
        self._block, self._counters = block, array(block, "counters")
        self._window: deque[float] = deque(maxlen=100)
        self._rings: list[Ring] = [ring(block, worker) for worker in range(len(self._counters))]
        self._first = self._sent = 0  # how many episodes are acknowledged, and how many are sent
        self._rows = np.zeros((0, 2))  # [E, 2] returns and lengths that were not acknowledged

    def joined(self) -> None:
        """A conversation begins: send all episodes again that are not acknowledged."""
        self._last, self._sent = self._clock(), self._first

    def due(self) -> bool:
        """Whether it is time for a report. Until the last one is acknowledged, the pause is ``LONGEST_SILENCE``."""
        passed = self._clock() - self._last
        return passed >= (self._every if self._sent <= self._first else LONGEST_SILENCE)

    def obey(self, answer: Message) -> None:
        """Between reports, pause as long as the parent's answer says. An answer without a pause changes nothing."""
        pause = answer.info.get("report_every")
        if isinstance(pause, (int, float)):
            self._every = min(max(EVERY, float(pause)), LONGEST_SILENCE)

    def gather(self) -> None:
        """Copy new episodes out of the workers' rings; call this regularly, because rings overwrite old episodes."""
        new = np.concatenate([each.drain() for each in self._rings])
        if not len(new):
            return
        self._window.extend(new[-100:, 0].tolist())
        rows = np.concatenate([self._rows, new])
        self._rows = rows[-MOST_KEPT:]
        self._first += len(rows) - len(self._rows)

    def messages(self, name: str, restarts: int) -> Iterator[Message]:
        """The newest numbers, and every episode that the parent has not acknowledged."""
        self._last = self._clock()
        self.gather()
        start, end = self._first, self._first + len(self._rows)
        while True:
            rows = self._rows[max(0, start - self._first) :][:MAX_EPISODES]
            self._sent = start + len(rows)
            yield self._message(name, restarts, start, rows)
            start = self._sent
            if start >= end:
                return

    def acknowledged(self, message: Message) -> None:
        """The parent has acknowledged as many episodes as the message says."""
        heard = min(message.counter, self._sent) - self._first
        if heard > 0:
            self._first, self._rows = self._first + heard, self._rows[heard:]

    def return_mean(self) -> float | None:
        """The mean return of the last 100 gathered episodes; None if there are none."""
        return sum(self._window) / len(self._window) if self._window else None

    def _message(self, name: str, restarts: int, first: int, episodes: npt.NDArray[np.float64]) -> Message:
        info: dict[str, Value] = {"updates": int(self._counters[:, UPDATES].sum()), "restarts": restarts}
        info |= {f"{METRIC}{key}": value for key, value in read_metrics(self._block).items()}
        if words := first_outside(self._block):
            info[FIRST_OUTSIDE] = words
        arrays = {
            "steps": torch.from_numpy(self._counters[:, STEPS].copy()),
            "episodes": torch.from_numpy(np.array(episodes, np.float64)),
        }
        finite = {key: value for key, value in info.items() if not isinstance(value, float) or math.isfinite(value)}
        return Message(Kind.TELEMETRY, name, counter=first, arrays=arrays, info=finite)


def report_buffers(header: Header) -> Mapping[str, memoryview]:
    """Memory for a report.

    Raises:
        MessageRefused: the message is no report, or larger than a report can be.
    """
    shapes = {entry.name: (entry.dtype, entry.shape) for entry in header.manifest}
    steps, episodes = shapes.get("steps"), shapes.get("episodes")
    fits = (
        len(shapes) == 2 and steps is not None and episodes is not None
        and steps[0] == "int64" and len(steps[1]) == 1 and steps[1][0] <= MAX_WORKERS
        and episodes[0] == "float64" and len(episodes[1]) == 2
        and episodes[1][0] <= MAX_EPISODES and episodes[1][1] == 2
    )  # fmt: skip
    if not fits:
        raise MessageRefused(
            f"{header.kind} from {header.sender}: expected steps of workers and episodes, got {sorted(shapes)}"
        )
    return new_buffers(header)


def read_report(message: Message) -> Report:
    """What a report says.

    Raises:
        MessageRefused: a number in it is impossible.
    """
    steps, episodes = message.arrays["steps"], message.arrays["episodes"]
    assert isinstance(steps, torch.Tensor)
    assert isinstance(episodes, torch.Tensor)
    rows = episodes.numpy()
    counts = [message.info.get("updates"), message.info.get("restarts"), message.counter]
    counted = all(type(each) is int and 0 <= each <= MOST_STEPS for each in counts)
    # Comparisons with NaN are false, so NaN is refused too.
    possible = bool(
        (np.abs(rows[:, 0]) <= MOST_NUMBER).all() and ((rows[:, 1] >= 0) & (rows[:, 1] <= MOST_STEPS)).all()
    )
    if not counted or not possible or bool((steps < 0).any()) or bool((steps > MOST_STEPS).any()):
        raise MessageRefused(f"{message.kind} from {message.sender}: expected returns and counts that can be")
    metrics = _metrics_in(message)
    updates, restarts, first = (int(each) for each in counts if isinstance(each, int))
    words = message.info.get(FIRST_OUTSIDE)
    outside = printable(words, MOST_WORDS) if isinstance(words, str) else ""
    returns, lengths = rows[:, 0], rows[:, 1].astype(np.int64)
    return Report(steps.numpy(), updates, restarts, metrics, first, returns, lengths, outside)


def report_of(member: Member, message: Message, tell: Callable[[str, str], None], now: float) -> Report | None:
    """The report that came from a child, which is then known to have played; None, and a line, if it cannot be used."""
    try:
        report = read_report(message)
    except MessageRefused as error:  # only this report is lost
        tell(member.name, str(error))
        return None
    steps = int(report.steps.sum())
    if steps != member.steps:
        member.steps, member.moved_at = steps, now
    return report


def acknowledge(name: str, child: str, report: Report, hear: Hear) -> Answer | None:
    """Pass a report to ``hear``. Returns the acknowledgement, or None if the report has no episodes."""
    heard = hear(child, report)
    return Answer(Message(Kind.TELEMETRY, name, counter=heard)) if len(report.returns) else None


def _metrics_in(message: Message) -> dict[str, float]:
    """The metrics of a report.

    Raises:
        MessageRefused: there are too many, or a name is not possible.
    """
    told = {key.removeprefix(METRIC): value for key, value in message.info.items() if key.startswith(METRIC)}
    if len(told) > MAX_METRICS + len(TOTALS) or not all(NAME.fullmatch(name) for name in told):
        raise MessageRefused(f"{message.kind} from {message.sender}: expected at most {MAX_METRICS} metrics, by names")
    return {
        name: float(value)
        for name, value in told.items()
        if isinstance(value, (int, float)) and abs(value) <= MOST_NUMBER
    }
