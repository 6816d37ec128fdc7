"""The protocol of a fleet, which brings the children of a run: local processes, addresses of running children, ..."""

from collections.abc import Callable, Sequence
from typing import Protocol

from marl.wire.endpoint import Endpoint


class Fleet(Protocol):
    """Brings children, and looks after them.

    endpoints = fleet.open(workers=2, note=print)  # one for each child
    while training:
        for line in fleet.tend(): ...
    fleet.close()
    """

    def open(self, workers: int, note: Callable[[str], None]) -> Sequence[Endpoint]:
        """Bring the children. Returns an endpoint for each, in the order of their ranks.

        Args:
            workers: of each child that is started for this run; 0: what its cores allow.
            note: takes lines for the user.

        Raises:
            MarlError: they cannot be brought, or this parent may not meet them.
        """
        ...

    def tend(self) -> Sequence[str]:
        """Check the children and the parent's key; called twice a second.

        Returns one line for each child that has ended by itself. A fleet that can start children restarts it.
        """
        ...

    def close(self) -> None:
        """End what was started. May be called twice."""
        ...
