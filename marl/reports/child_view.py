"""What a child shows of itself: one live line, or a plain one now and then where there is no terminal."""

import contextlib
import os
import sys
import threading
import time
from typing import NamedTuple, TextIO

from marl.reports.numbers import number_text
from marl.words import printable

PLAIN_EVERY = 10.0  # seconds


class ChildStatus(NamedTuple):
    """A child's run at one moment."""

    run: str
    environment: str
    version: int
    steps_per_second: float
    return_mean: float | None
    bytes_sent: int
    bytes_received: int
    alone: bool  # no parent at the moment


class ChildView:
    """Prints; may be called from any thread."""

    def __init__(self, stream: TextIO | None = None, *, calm: bool = False, debug: bool = False) -> None:
        self._stream: TextIO = sys.stdout if stream is None else stream
        self._live = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._calm = calm  # no progress, only notes
        self._debug = debug
        self._lock = threading.Lock()
        self._width = 0  # of the live line that stands there
        self._shown_at = time.monotonic()

    def note(self, text: str) -> None:
        """Say something once."""
        self._print(printable(text), stays=True)

    def trace(self, text: str) -> None:
        """A traceback, which is for those who ask for it."""
        if self._debug:
            for line in text.splitlines():
                self._print("  " * (line[:1] == " ") + printable(line.strip()), stays=True)

    def show(self, status: ChildStatus) -> None:
        """The newest numbers."""
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
        with self._lock:
            if self._width:
                self._write("\n")
                self._width = 0

    def _print(self, line: str, *, stays: bool) -> None:
        with self._lock:
            erase = "\r" + " " * self._width + "\r" if self._width else ""
            if self._live and not stays:
                columns = _columns()
                line = line[: columns - 1]
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


def bytes_text(number: float) -> str:
    """Bytes as a person would say them, such as 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError("the last unit returns")


def _columns() -> int:
    try:
        return os.get_terminal_size().columns
    except OSError:
        return 80
