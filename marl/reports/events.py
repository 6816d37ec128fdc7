"""What happens in a run, one type each: sinks hear these, and ``events.jsonl`` keeps all but ``Progress``."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

UNKNOWN = -1  # the stream fills it in


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """What every event says: when it happened."""

    seconds: float = UNKNOWN  # of training, over all resumes
    steps: int = UNKNOWN  # environment steps, over all resumes
    time: float = UNKNOWN  # time.time()


class Began(Event, frozen=True, kw_only=True, tag="began"):
    """A run starts, or goes on where ``seconds`` and ``steps`` say."""

    environment: str
    algorithm: str
    exchange: str
    seed: int


class Status(Event, frozen=True, kw_only=True, tag="status", omit_defaults=True):
    """The numbers of a run, every ``report.every_seconds``."""

    episodes: int
    updates: int
    steps_per_second: float  # since the status before
    return_mean: float | None  # of the episodes in the window, not normalised
    return_std: float | None
    length_mean: float | None
    window_filled: int  # episodes in the window
    metrics: dict[str, float]  # policy_loss, gradient_norm, ...: what the algorithm's Loss.metrics names
    worker_rates: tuple[float, ...]  # environment steps per second of each worker
    progress: float | None  # 0..1 towards the nearest goal
    stop_text: str
    seconds_left: float | None
    restarts: int  # of workers that died
    virtual_seconds: float | None = None  # of training, over all resumes; only with clock.virtual
    speedup: float | None = None  # against the best machine alone, as far as measured; only if the exchange was chosen


class ChildRow(NamedTuple):
    """One child at one moment; None where nothing is known."""

    address: str
    state: str
    workers: int | None = None
    cores: int | None = None  # that its machine grants it
    steps_per_second: float | None = None
    return_mean: float | None = None
    version: int | None = None  # of the weights that it has
    answer_age: float | None = None  # seconds since its last answer
    bytes_per_second: float | None = None  # up and down together
    round_trip: float | None = None  # seconds


class Progress(Event, frozen=True, kw_only=True, tag="progress"):
    """The newest numbers five times a second, for a person who watches; no file keeps them."""

    status: Status
    children: Sequence[ChildRow] = ()


class Episodes(Event, frozen=True, kw_only=True, tag="episodes"):
    """The episodes that ended since the last such event, oldest first."""

    returns: npt.NDArray[np.float64]  # [episodes], not normalised
    lengths: npt.NDArray[np.int64]  # [episodes], environment steps


class Evaluated(Event, frozen=True, kw_only=True, tag="evaluation"):
    """What weights earned; ``steps`` says when they were taken, or if ``final``, when training ended."""

    mean: float
    std: float
    episodes: int
    final: bool = False  # of the weights that the run keeps, by episodes that decided nothing


class Checkpointed(Event, frozen=True, kw_only=True, tag="checkpoint"):
    """A checkpoint is on disk; ``steps`` and ``seconds`` say how far a run goes that is resumed from it."""

    file: str


class ChildJoined(Event, frozen=True, kw_only=True, tag="child_joined"):
    """A child takes part, for the first time or again."""

    address: str
    node: str
    workers: int


class ChildLeft(Event, frozen=True, kw_only=True, tag="child_left"):
    """A child takes part no longer, while the run goes on."""

    address: str
    node: str
    why: str


class ChildStatus(Event, frozen=True, kw_only=True, tag="child_status"):
    """A child's own numbers twice a second, at the child; there nothing else but ``Warned`` and ``Ended`` is told."""

    run: str
    environment: str
    version: int
    steps_per_second: float
    return_mean: float | None
    bytes_sent: int
    bytes_received: int
    alone: bool  # no parent at the moment


class Warned(Event, frozen=True, kw_only=True, tag="warning"):
    """A line for the user; where code failed, ``trace`` says where."""

    text: str
    trace: str = ""


class Ended(Event, frozen=True, kw_only=True, tag="ended"):
    """Nothing is played any more, and all is saved."""

    reason: str  # "solved", "steps", "minutes", "episodes", "stopped"; "failed": see failure
    return_mean: float | None = None  # of training
    failure: str | None = None
