"""A trajectory whose advantages are normalised by those of all that learn together from parts of one minibatch."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from marl.algorithms.base import Moment
from marl.data.trajectory import Trajectory


class SharedTrajectory(NamedTuple):
    """One part of a minibatch."""

    trajectory: Trajectory
    moments: Tensor  # [4]  of the advantages of all parts, see ``marl.targets.returns.moments_of``

    @property
    def valid(self) -> Tensor:
        """Which steps [T, B] are transitions."""
        return self.trajectory.valid


def parts_of(
    trajectory: Trajectory, moment: Moment, moments: Callable[[], Tensor], *, normalize: bool
) -> Iterator[Trajectory | SharedTrajectory]:
    """The trajectory, as the only minibatch; where others have parts of it, with the moments that all add up.

    Args:
        moments: those of this trajectory's own advantages.
    """
    if moment.together is None or not normalize:
        yield trajectory
    else:
        yield SharedTrajectory(trajectory, moment.together(moments()))


def opened(batch: Trajectory | SharedTrajectory) -> tuple[Trajectory, Tensor | None]:
    """A trajectory, and the moments to normalise its advantages by; None: by its own."""
    return (batch.trajectory, batch.moments) if isinstance(batch, SharedTrajectory) else (batch, None)
