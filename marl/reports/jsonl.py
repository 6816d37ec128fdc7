"""A file of JSON lines that is added to while a run goes on; a full disk costs lines, never the run."""

import os
from pathlib import Path

from marl.files import open_to_append

MAX_FILE, MAX_LINE = 1 << 30, 64_000  # bytes of such a file, and of one of its lines


class JsonLines:
    """Adds lines to a file."""

    def __init__(self, path: Path, what: str) -> None:
        """``what`` is lost where the file cannot be written, in words."""
        self._path, self._what = path, what
        self._warned = False

    def add(self, line: bytes) -> str | None:
        """Add one line.

        Returns:
            A warning the first time that a line is lost, None otherwise.
        """
        try:
            # Open the file for each line: then an error leaves no buffer that would fail again at exit.
            with open(open_to_append(self._path), "a+b") as file:
                size = os.lseek(file.fileno(), 0, os.SEEK_END)
                if size + len(line) >= MAX_FILE:
                    return self._lost(f"it has {size:,} bytes")
                torn = bool(size) and _last_byte(file.fileno(), size) != b"\n"
                file.write(b"\n" * torn + line + b"\n")
        except OSError as error:
            return self._lost(str(error.strerror or error))
        return None

    def _lost(self, reason: str) -> str | None:
        if self._warned:
            return None
        self._warned = True
        return f"{self._what} lost, {self._path} cannot be written ({reason}): training goes on without"


def _last_byte(descriptor: int, size: int) -> bytes:
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1)
