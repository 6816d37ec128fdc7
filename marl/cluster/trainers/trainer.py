"""The interface of a trainer, which plays the steps of a run and learns from them."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from marl.cluster.snapshot import Snapshot
from marl.config.settings import Config
from marl.data.spaces import Spaces
from marl.exchanges.sides import Audited
from marl.processes.group import ProcessGroup
from marl.reports.events import ChildRow
from marl.reports.run_folder import RunFolder
from marl.reports.stream import Stream
from marl.training.saved.weights_file import WeightsFile

Episodes = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]  # returns [E] and lengths [E]

NO_SHARES = np.zeros((0, 3))


class Counts(NamedTuple):
    """What is counted while training, since this start."""

    steps: npt.NDArray[np.int64]  # [M] environment steps of each worker, or of each child
    updates: npt.NDArray[np.int64]  # [M], or [1] where workers learn together
    metrics: dict[str, float]
    restarts: int
    first_outside: str = ""  # the first observation that was outside its space, in words


class Pause(NamedTuple):
    """Workers or children wait."""

    number: int  # of the checkpoint interval or version that has just ended
    proceed: Callable[[bool], None]  # let them play on (True), or end


class Given(NamedTuple):
    """What a trainer is made of."""

    config: Config  # with a seed
    spaces: Spaces
    network: nn.Module  # with the weights to start from; its numbers are views of ``weights``
    weights: Tensor  # [N]  overwritten once the run has begun: copy what must last
    folder: RunFolder
    group: ProcessGroup  # of the run's processes
    events: Stream
    log: Callable[[str], None]  # takes tracebacks
    initial: WeightsFile | None  # file of the network's weights, in a new run
    resumed: WeightsFile | None  # checkpoint to go on from

    @property
    def info(self) -> Mapping[str, Any]:
        """The checkpoint's ``info``; empty for a new run."""
        return {} if self.resumed is None else self.resumed.info

    @property
    def term(self) -> int:
        """Term of the parent, or of the learner: one more than before."""
        return int(self.info.get("epoch", 0)) + 1

    @property
    def virtual_before(self) -> float:
        """Virtual seconds of the runs that this one resumes."""
        return float(self.info.get("virtual_seconds", 0.0))


class Trainer(ABC):
    """Plays steps and learns from them. All calls come from the run's main thread.

    trainer.start(save, time.monotonic())
    while goes_on:
        trainer.tend()
        meter.add_episodes(*trainer.episodes())
        if due: save(trainer.snapshot())
    trainer.stop()
    """

    @abstractmethod
    def start(self, save: Callable[[], None], began: float) -> None:
        """Begin to play.

        Args:
            save: puts a checkpoint on the disk before it returns.
            began: time.monotonic() when the run's training time was 0; schedules by time count from it. In a resumed
                run it lies as far back as the run had trained.
        """

    @abstractmethod
    def stop(self) -> None:
        """Play no more; may be called twice."""

    @abstractmethod
    def tend(self) -> bool:
        """Look after processes and conversations. True if training went back to the last saved snapshot.

        Raises:
            MarlError: it cannot go on.
        """

    @abstractmethod
    def steps(self) -> int:
        """Environment steps that count towards ``stop.steps``, those of resumed runs included."""

    @abstractmethod
    def counts(self) -> Counts:
        """The newest numbers."""

    @abstractmethod
    def episodes(self) -> Episodes:
        """The episodes that ended since the last call."""

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """A copy of what is learned."""

    @abstractmethod
    def info(self) -> dict[str, Any]:
        """What a checkpoint holds beside the tensors of the last snapshot."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Facts about the trainer for the run folder."""

    @property
    def version(self) -> int | None:
        """The version of the weights; None if every update changes them."""
        return None

    def pause(self) -> Pause | None:
        """In deterministic mode: what has just ended, once; then all workers or children wait until they ``proceed``.
        None while they play.
        """
        return None

    def saved(self, snapshot: Snapshot) -> None:  # noqa: B027  most trainers need not know this
        """This snapshot is the newest checkpoint."""

    @property
    def resumable(self) -> bool:
        """Whether a run can go on from what is learned at this moment."""
        return True

    def await_first_update(self, stopped: threading.Event) -> None:  # noqa: B027  most learn while they play
        """The run ends by itself: if nothing was learned yet, wait a moment for the first update.

        Args:
            stopped: ends the wait.
        """

    def last_round(self) -> None:  # noqa: B027  most have nothing under way
        """The run ends now: use what is still on its way."""

    def leads(self) -> bool:
        """Whether this process still owns the run. If another process has resumed it, that one does."""
        return True

    def never_began(self) -> bool:
        """Whether nothing was played at all."""
        return False

    def audited(self) -> Audited | None:
        """The parent's side, if poisoned uploads can harm the weights and trials can find their sender; else None."""
        return None

    def rows(self) -> list[ChildRow] | None:
        """What the live table shows of each child; None without children."""
        return None

    def first_update_at(self) -> float | None:
        """time.time() of the first optimizer step; None before it, or where nobody here knows."""
        return None

    def virtual_seconds(self) -> float | None:
        """Virtual seconds of training, over all resumes; None unless ``clock.virtual`` asks for them."""
        return None

    def shares(self) -> npt.NDArray[np.float64]:
        """Seconds [M, 3] of each worker: acting; the part of it inside the environment; learning. Empty if unknown."""
        return NO_SHARES
