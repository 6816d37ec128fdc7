"""What a child tells about itself between two uploads: for people, for the curves, and for knowing who stands still."""

import math
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from marl.data.ring import Ring
from marl.data.shared import SharedBlock
from marl.errors import MessageRefused
from marl.training.node_memory import METRICS, STEPS, UPDATES, array, ring
from marl.wire.header import Header
from marl.wire.message import Kind, Message, Value
from marl.wire.places import fresh

EVERY = 0.25  # seconds
MAX_EPISODES = 4096  # in one message; a child that finishes more in a quarter of a second reports the last ones
MAX_WORKERS = 1024
MOST_RETURN = 1e30  # so that a mean of many is finite
MOST_STEPS = 2**40  # of one worker in one life of a child: a year of a million a second


class Report(NamedTuple):
    """A child's numbers since it joined."""

    steps: npt.NDArray[np.int64]  # [M] environment steps of each worker
    updates: int
    restarts: int
    metrics: dict[str, float]
    returns: npt.NDArray[np.float64]  # [E] of the episodes since the last report
    lengths: npt.NDArray[np.int64]  # [E]


class Reporter:
    """Reads the node's memory for a child's reports."""

    def __init__(self, block: SharedBlock) -> None:
        self._counters, self._metrics = array(block, "counters"), array(block, "metrics")
        self._window: deque[float] = deque(maxlen=100)
        self._rings: list[Ring] = [ring(block, worker) for worker in range(len(self._counters))]
        self._last = Message(Kind.TELEMETRY, "")

    def message(self, name: str, restarts: int, *, again: bool = False) -> Message:
        """The newest numbers, and the episodes that ended since the last call.

        Args:
            again: the last one, as it was: it may be lost, or have arrived, which its number tells.
        """
        if again:
            return self._last
        episodes = np.concatenate([each.drain() for each in self._rings])[-MAX_EPISODES:]
        self._window.extend(episodes[:, 0].tolist())
        info: dict[str, Value] = {"updates": int(self._counters[:, UPDATES].sum()), "restarts": restarts}
        ready = self._counters[:, UPDATES] > 0
        if ready.any():
            means = self._metrics[ready].mean(axis=0)
            info |= {f"metric.{key}": float(means[column]) for column, key in enumerate(METRICS)}
        arrays = {
            "steps": torch.from_numpy(self._counters[:, STEPS].copy()),
            "episodes": torch.from_numpy(np.ascontiguousarray(episodes, np.float64)),
        }
        finite = {key: value for key, value in info.items() if not isinstance(value, float) or math.isfinite(value)}
        self._last = Message(Kind.TELEMETRY, name, counter=self._last.counter + 1, arrays=arrays, info=finite)
        return self._last

    def return_mean(self) -> float | None:
        """Of the last 100 episodes that were reported."""
        return sum(self._window) / len(self._window) if self._window else None


def place_report(header: Header) -> Mapping[str, memoryview]:
    """Memory for a report.

    Raises:
        MessageRefused: it is none, or larger than a report can be.
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
    return fresh(header)


def read_report(message: Message) -> Report:
    """What a report says.

    Raises:
        MessageRefused: it says something that cannot be.
    """
    steps, episodes = message.arrays["steps"], message.arrays["episodes"]
    assert isinstance(steps, torch.Tensor)
    assert isinstance(episodes, torch.Tensor)
    rows = episodes.numpy()
    counts = [message.info.get("updates"), message.info.get("restarts")]
    counted = all(isinstance(each, int) and 0 <= each <= MOST_STEPS for each in counts)
    # False for what is not finite, too.
    possible = bool(
        (np.abs(rows[:, 0]) <= MOST_RETURN).all() and ((rows[:, 1] >= 0) & (rows[:, 1] <= MOST_STEPS)).all()
    )
    if not counted or not possible or bool((steps < 0).any()) or bool((steps > MOST_STEPS).any()):
        raise MessageRefused(f"{message.kind} from {message.sender}: expected returns and counts that can be")
    metrics = {
        name: float(value) for name in METRICS if isinstance(value := message.info.get(f"metric.{name}"), (int, float))
    }
    updates, restarts = (int(each) for each in counts if isinstance(each, int))
    return Report(steps.numpy(), updates, restarts, metrics, rows[:, 0], rows[:, 1].astype(np.int64))
