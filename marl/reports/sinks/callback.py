"""A function of the program that trains, which hears the run's events and may end the run."""

import threading
from collections.abc import Callable

from marl.reports.events import Event
from marl.reports.sinks.sink import Facts


class Callback:
    """See ``Sink``. An answer of ``False`` ends the run as Ctrl-C does: checkpoint and weights are written."""

    def __init__(self, tell: Callable[[Event], object], stopped: threading.Event) -> None:
        self._tell, self._stopped = tell, stopped

    def begin(self, facts: Facts) -> None:
        """Nothing to prepare."""

    def on(self, event: Event) -> None:
        """Tell it."""
        if self._tell(event) is False:
            self._stopped.set()

    def close(self) -> None:
        """Nothing is left."""
