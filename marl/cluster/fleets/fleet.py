"""What brings the children of a run: processes on this machine, addresses of machines where they run already, ..."""

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
        """Bring the children; how each is met, in the order of their ranks.

        Args:
            workers: of each child that is started for this run; 0: what its cores allow.
            note: takes lines for the user.

        Raises:
            MarlError: they cannot be brought, or this parent may not meet them.
        """
        ...

    def tend(self) -> Sequence[str]:
        """Called twice a second: look after the children, and after the key by which they are met.

        One line for each child that has ended by itself; a fleet that can start children starts these again.
        """
        ...

    def close(self) -> None:
        """End what was started. May be called twice."""
        ...
