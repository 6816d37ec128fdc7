"""What a child shows of itself: one live line, or a plain one now and then where there is no terminal."""

import contextlib
import os
import time
from typing import TextIO

from marl.reports.events import ChildStatus, Ended, Event, Warned
from marl.reports.numbers import bytes_text, number_text
from marl.reports.sinks.sink import Facts
from marl.reports.sinks.standard_output import standard_output
from marl.words import printable

PLAIN_EVERY = 10.0  # seconds


class ChildView:
    """Shows a child to the person who started it."""

    def __init__(self, stream: TextIO | None = None, *, calm: bool = False, debug: bool = False) -> None:
        self._stream: TextIO = standard_output() if stream is None else stream
        self._live = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._calm = calm  # no progress, only notes
        self._debug = debug
        self._width = 0  # of the live line that stands there
        self._shown_at = time.monotonic()

    def begin(self, unused_facts: Facts) -> None:
        """There is nothing to show yet."""

    def on(self, event: Event) -> None:
        """Show the newest numbers, or a line; a traceback is for those who ask for it."""
        if isinstance(event, ChildStatus):
            self._show(event)
        elif isinstance(event, Warned):
            for line in event.trace.splitlines() if self._debug else ():
                self._print("  " * (line[:1] == " ") + printable(line.strip()), stays=True)
            if event.text:
                self._print(printable(event.text), stays=True)
        elif isinstance(event, Ended):
            self.close()

    def _show(self, status: ChildStatus) -> None:
        if self._calm:
            return
        line = printable(status_line(status))  # run and environment have their names from a parent
        if self._live:
            self._print(line, stays=False)
        elif time.monotonic() - self._shown_at >= PLAIN_EVERY:
            self._shown_at = time.monotonic()
            self._print(line, stays=True)

    def close(self) -> None:
        """Leave the live line behind."""
        if self._width:
            self._write("\n")
            self._width = 0

    def _print(self, line: str, *, stays: bool) -> None:
        erase = "\r" + " " * self._width + "\r" if self._width else ""
        if self._live and not stays:
            line = line[: _columns() - 1]
        self._write(erase + line + ("\n" if stays else ""))
        self._width = 0 if stays else len(line)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a terminal that went away must not end the training
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()


def status_line(status: ChildStatus) -> str:
    """A status as one line."""
    parts = [f"{status.environment}, run {status.run}", f"version {status.version}"]
    parts.append(f"{status.steps_per_second:,.0f} steps/s")
    if status.return_mean is not None:
        parts.append(f"return {number_text(status.return_mean)}")
    parts.append(f"sent {bytes_text(status.bytes_sent)}, received {bytes_text(status.bytes_received)}")
    if status.alone:
        parts.append("no parent, training on")
    return "  ".join(parts)


def _columns() -> int:
    try:
        return os.get_terminal_size().columns
    except OSError:
        return 80
