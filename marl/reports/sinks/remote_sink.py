"""Keeps the copy of a run folder at a URI up to date."""

from marl.errors import RunFolderError
from marl.reports.events import Checkpointed, Ended, Evaluated, Event
from marl.reports.remote import RemoteCopy, RemoteRuns
from marl.reports.sinks.sink import Facts


class RemoteSink:
    """Copies what has changed after each checkpoint and evaluation; what fails is told once, and tried again then."""

    patience_s = 30.0  # of a checkpoint on a slow line

    def __init__(self, runs: RemoteRuns) -> None:
        """``runs``: where the copy lies."""
        self._runs, self._failed = runs, False

    def begin(self, facts: Facts) -> None:
        """Copy what there is: the settings."""
        self._note, self._copy = facts.note, RemoteCopy(self._runs, facts.folder)
        self._update()

    def on(self, event: Event) -> None:
        """See ``Sink``."""
        if isinstance(event, (Checkpointed, Evaluated, Ended)):
            self._update()

    def close(self) -> None:
        """Copy what was written at the end."""
        self._update()

    def _update(self) -> None:
        try:
            self._copy.update()
            self._failed = False
        except RunFolderError as error:
            if not self._failed:
                self._note(f"{error}; the folder on this machine is whole, and copied again later")
            self._failed = True
