"""Plain lines, for a log or a pipe: a status now and then, and what else there is to say."""

from typing import TextIO

from marl.reports.children_table import summary
from marl.reports.events import Ended, Event, Progress, Status, Warned
from marl.reports.numbers import spread_text
from marl.reports.sinks.sink import Facts
from marl.words import printable

EVERY_S = 2.0  # of training, between two lines


class PlainLines:
    """Writes to a stream until that goes away."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False
        self._last: Progress | None = None
        self._shown: Progress | None = None

    def begin(self, facts: Facts) -> None:
        """Say what is trained, and where."""
        self._write(title(facts))

    def on(self, event: Event) -> None:
        """Write the newest numbers if the last ones are old enough, or a line for the user."""
        if isinstance(event, Progress):
            self._last = event
            if self._shown is None or event.status.seconds - self._shown.status.seconds >= EVERY_S:
                self._show_last()
        elif isinstance(event, Warned):
            self._write(printable(event.text))
        elif isinstance(event, Ended):
            self._show_last()

    def close(self) -> None:
        """Write the last status, if it is new."""
        self._show_last()

    def _show_last(self) -> None:
        last = self._last
        if last is not None and last is not self._shown:
            self._shown = last
            self._write(plain_line(last.status) + (f"  {summary(last.children)}" if last.children else ""))

    def _write(self, line: str) -> None:
        if self._gone:
            return
        encoding = self._stream.encoding or "utf-8"
        try:
            line.encode(encoding)
        except UnicodeError:
            line = line.replace("±", "+-").replace(" · ", ", ")
            line = line.encode(encoding, "replace").decode(encoding)
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError:  # its reader went away: what it has seen is all it wanted
            self._gone = True


def title(facts: Facts) -> str:
    """What is trained, how, and where it is kept."""
    return " · ".join((facts.environment, facts.algorithm, str(facts.folder)))


def plain_line(status: Status) -> str:
    """A status as one line."""
    parts = [
        f"{status.seconds:.1f} s",
        f"{status.steps:,} steps",
        f"{status.steps_per_second:,.0f} steps/s",
    ]
    if status.return_mean is not None:
        parts.append(f"return {return_text(status)}")
    if status.length_mean is not None:
        parts.append(f"length {status.length_mean:,.0f}")
    if status.speedup is not None:
        parts.append(f"speed-up {status.speedup:.1f}")
    if status.progress is not None:
        parts.append(f"{int(100 * status.progress)} %")
    if status.restarts:
        parts.append(f"{status.restarts} restarts")
    return "  ".join(parts)


def return_text(status: Status) -> str:
    """The mean return and its deviation."""
    if status.return_mean is None:
        return "-"
    return spread_text(status.return_mean, status.return_std or 0.0)
