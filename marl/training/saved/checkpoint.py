"""Write the newest content of files in the background, so that training does not wait for the disk."""

import threading
from collections.abc import Callable
from pathlib import Path

from marl.reports.run_folder import write_atomic


class BackgroundWriter:
    """One thread that writes the newest content of each file; a failure is reported, never raised."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._pending: dict[Path, tuple[Callable[[], bytes], Callable[[], None]]] = {}
        self._changed = threading.Condition()  # guards _pending, _busy and _closed
        self._busy = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="checkpoint writer", daemon=True)
        self._thread.start()

    def write(self, path: Path, make: Callable[[], bytes], done: Callable[[], None] = lambda: None) -> None:
        """Write what ``make`` returns, then call ``done``; older content of this file that still waits is dropped."""
        with self._changed:
            self._pending.pop(path, None)  # last in line again: files reach the disk in the order of their last `write`
            self._pending[path] = make, done
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything is written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pending and not self._busy)

    def close(self) -> None:
        """Write what waits, then end the thread. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._pending) or self._closed)
                if not self._pending:
                    return
                path = next(iter(self._pending))
                make, done = self._pending.pop(path)
                self._busy = True
            try:
                write_atomic(path, make())
                done()
            except Exception as error:  # whatever it is, this thread must live: `flush` waits for it
                reason = getattr(error, "strerror", None) or error
                older = ", the older file is kept" if path.exists() else ""
                self._warn(f"could not write {path}: {reason}; training goes on{older}")
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
