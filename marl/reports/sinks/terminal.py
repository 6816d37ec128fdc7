"""The terminal: a live table, or plain lines where there is none."""

import os

from marl.reports.events import Event, Warned
from marl.reports.sinks.live import LiveTable
from marl.reports.sinks.plain import PlainLines
from marl.reports.sinks.sink import Facts, Sink
from marl.reports.sinks.standard_output import standard_output


class Terminal:
    """Shows a run to the person who started it, unless that person wants nothing."""

    patience_s = 2.0  # whatever the other sinks took: these are the last words

    def begin(self, facts: Facts) -> None:
        """Choose how."""
        self._view: Sink | None = None
        if facts.quiet:
            return
        stream = standard_output()
        plain = facts.plain or not stream.isatty() or os.environ.get("TERM") == "dumb"
        self._view = PlainLines(stream) if plain else LiveTable(stream)
        self._view.begin(facts)

    def on(self, event: Event) -> None:
        """Show it."""
        if self._view is not None:
            self._view.on(event)

    def close(self) -> None:
        """Give the terminal back."""
        if self._view is not None:
            self._view.close()


def say(line: str) -> None:
    """Tell the person who started a run something that cannot wait until the run begins."""
    PlainLines(standard_output()).on(Warned(text=line))
