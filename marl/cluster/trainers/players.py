"""The protocol of the players of a learner: actors of this machine, or children."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from marl.cluster.trainers.trainer import Counts, Episodes
from marl.reports.events import ChildRow


class Players(Protocol):
    """Play with the learner's newest weights and send what they see. All calls come from the run's main thread."""

    local: bool  # they run on this machine; then ``tend`` also raises errors of the parent's side

    def start(self, save: Callable[[], None], began: float) -> None:
        """Begin to play; the learner has started.

        Args:
            save, began: see ``Trainer.start``.
        """

    def stop(self) -> None:
        """Play no more; may be called twice."""

    def tend(self) -> None:
        """Look after processes and conversations.

        Raises:
            MarlError: they cannot go on.
        """

    def counts(self) -> Counts:
        """What the players have done; ``updates`` mean nothing here."""

    def episodes(self) -> Episodes:
        """The episodes that ended since the last call."""

    def info(self) -> dict[str, Any]:
        """What a checkpoint saves about the players."""

    def facts(self) -> dict[str, Any]:
        """Facts about the players for the run folder."""

    def leads(self) -> bool:
        """See ``Trainer``."""

    def never_began(self) -> bool:
        """See ``Trainer``."""

    def rows(self) -> list[ChildRow] | None:
        """See ``Trainer``."""

    def shares(self) -> npt.NDArray[np.float64]:
        """See ``Trainer``."""
