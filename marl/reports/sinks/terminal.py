"""The terminal: a live table, or plain lines where there is no terminal."""

from marl.reports.events import Ended, Event, Progress, Warned
from marl.reports.progress import LiveView
from marl.reports.sinks.sink import Facts
from marl.reports.sinks.standard_output import standard_output


class Terminal:
    """Shows a run to the person who started it."""

    def begin(self, facts: Facts) -> None:
        """Show what is trained, and where."""
        self._view = LiveView(
            environment=facts.environment,
            algorithm=facts.algorithm,
            run_folder=str(facts.folder),
            plain=facts.plain,
            quiet=facts.quiet,
            stream=standard_output(),
        ).__enter__()

    def on(self, event: Event) -> None:
        """Show the newest numbers, or a line."""
        if isinstance(event, Progress):
            self._view.show(event.status, event.children)
        elif isinstance(event, Warned):
            self._view.note(event.text)
        elif isinstance(event, Ended):
            self._view.close()

    def close(self) -> None:
        """Give the terminal back."""
        self._view.close()
