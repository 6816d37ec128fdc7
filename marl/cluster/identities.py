"""The identity of a running node, which changes when its key or ticket is replaced."""

import threading
from collections.abc import Callable
from pathlib import Path

from marl.errors import MarlError
from marl.trust.identity import Identity
from marl.trust.rotation import FileWatch


class LiveIdentity:
    """The newest identity. ``poll`` makes it again if its file has changed."""

    def __init__(self, choose: Callable[[], Identity | None], path: Path | None, note: Callable[[str], None]) -> None:
        """
        Args:
            choose: makes the identity from the files as they are now.
            path: of the file to watch; None: there is none.

        Raises:
            MarlError: there is no identity to begin with.
        """
        self._choose, self._note = choose, note
        self._lock = threading.Lock()  # guards _current
        self._current = choose()
        self._watch = FileWatch(path) if path is not None else None  # after ``choose``, which may create the file

    def __call__(self) -> Identity | None:
        """The newest identity; None without certificates."""
        with self._lock:
            return self._current

    def poll(self) -> bool:
        """Whether the identity is new since the last call. If the new file cannot be used, the old identity stays."""
        if self._watch is None or not self._watch.changed():
            return False
        try:
            newest = self._choose()
        except MarlError as error:
            self._note(f"the changed key is not used: {error}")
            return False
        with self._lock:
            self._current = newest
        self._note("the key has changed: new connections use it")
        return True
