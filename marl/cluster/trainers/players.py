"""What a learner asks of those who play for it, on this machine or as children."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from marl.cluster.trainers.trainer import Counts, Episodes
from marl.reports.events import ChildRow


class Players(Protocol):
    """Play with the learner's newest weights and send what they see. All calls come from the run's main thread."""

    local: bool  # all of them are in this process's group, and end with the first error of the learner's side

    def start(self, save: Callable[[], None]) -> None:
        """Begin to play; the learner has started.

        Args:
            save: see ``Trainer.start``.
        """

    def stop(self) -> None:
        """Play no more; may be called twice."""

    def tend(self) -> None:
        """Look after processes and conversations.

        Raises:
            MarlError: they cannot go on.
        """

    def counts(self) -> Counts:
        """What they have done; ``updates`` are of no meaning."""

    def episodes(self) -> Episodes:
        """The episodes that ended since the last call."""

    def info(self) -> dict[str, Any]:
        """What a checkpoint has to say of them."""

    def facts(self) -> dict[str, Any]:
        """For the run folder."""

    def leads(self) -> bool:
        """See ``Trainer``."""

    def never_began(self) -> bool:
        """See ``Trainer``."""

    def rows(self) -> list[ChildRow] | None:
        """See ``Trainer``."""

    def shares(self) -> npt.NDArray[np.float64]:
        """See ``Trainer``."""
