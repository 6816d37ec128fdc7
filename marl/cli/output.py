"""Standard output for a command's own words alone."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def own_output() -> Iterator[None]:
    """What environments, libraries and processes started here write to file descriptor 1 goes to standard error.

    Only ``sys.stdout`` still leads to standard output. Where nobody reads that any more, words are lost and nothing
    else: the command goes on and ends with its own exit code.
    """
    _fill_closed()
    before = sys.stdout
    if before is not None and _descriptor(before) != 1:  # a test's, or a notebook's
        yield
        return
    if before is not None:
        before.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    encoding, errors = ("utf-8", "replace") if before is None else (before.encoding, before.errors)
    raw = io.BufferedWriter(_Forgiving(kept))
    sys.stdout = io.TextIOWrapper(raw, encoding=encoding, errors=errors, line_buffering=os.isatty(kept))
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        finally:
            os.dup2(kept, 1)
            sys.stdout = before


class _Forgiving(io.FileIO):
    """A file whose reader may go away, be it a program or a terminal."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb")
        self._terminal = os.isatty(descriptor)

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)
        except OSError as error:
            if error.errno == errno.EIO and self._terminal:  # it was closed
                return len(data)
            raise


def _fill_closed() -> None:
    """Keep the next file that is opened from becoming standard output, where ``>&-`` has closed that."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


def _descriptor(stream: object) -> int | None:
    try:
        return stream.fileno()  # type: ignore[attr-defined, no-any-return]
    except (AttributeError, OSError, ValueError):
        return None
