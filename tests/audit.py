"""What a piece of code makes Python do, as Python's own audit hooks see it."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

# Events by which a file could make this process run something: see the "Audit events table" of Python's documentation.
RUNS = ("exec", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "pty.spawn")
RUNS += ("import", "ctypes.dlopen", "compile", "code.__new__")

_recording: list[list[str]] = []  # the lists that events go to
_thread = 0


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _recording and event in RUNS and threading.get_ident() == _thread:
        _recording[-1].append(f"{event} {arguments[0]!r:.100}")


@contextlib.contextmanager
def recorded() -> Iterator[list[str]]:
    """Everything that this thread runs or imports meanwhile, one line each."""
    global _thread
    if not _installed:
        sys.addaudithook(_hook)  # which cannot be taken away again
        _installed.append(True)
    events: list[str] = []
    _thread = threading.get_ident()
    _recording.append(events)
    try:
        yield events
    finally:
        _recording.pop()


_installed: list[bool] = []
