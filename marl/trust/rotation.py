"""Replacing the cluster key in three steps, and how a running node follows them."""

import os
import secrets
from pathlib import Path
from typing import Literal

from marl.errors import KeyFileError
from marl.trust.files import replace_private
from marl.trust.keys import KEY_BYTES, KeyRing, format_keys, load_keys
from marl.trust.secret import Secret

Step = Literal["add", "use", "drop"]


def rotate(path: Path, step: Step) -> KeyRing:
    """Take one of the three steps that replace a key without a stop.

    ``add`` trusts a new key beside the current one, ``use`` shows the new one, ``drop`` no longer trusts the old one.
    Between two steps every machine must get the file as it is then, or a new ticket. A ticket made while two keys are
    trusted trusts both for good: after a theft, invite again once the old key is dropped.

    Raises:
        KeyFileError: the step is out of order, or the file cannot be read or written.
    """
    ring = load_keys(path)
    match step, ring:
        case "add", KeyRing(next=None, old=None):
            ring = ring._replace(next=Secret(secrets.token_bytes(KEY_BYTES)))
        case "use", KeyRing(next=Secret() as following):
            ring = ring._replace(current=following, next=None, old=ring.current)
        case "drop", KeyRing(old=Secret()):
            ring = ring._replace(old=None)
        case _:
            state, right = stage(ring)
            raise KeyFileError(f"expected {right} as the next step of rotation, got --{step} while {state}")
    replace_private(path, format_keys(ring))
    return ring


def stage(ring: KeyRing) -> tuple[str, str]:
    """Where a rotation stands, in words, and the only step that is possible now."""
    if ring.next is not None:
        return "a new key is trusted and not used", "--use"
    if ring.old is not None:
        return "the old key is still trusted", "--drop"
    return "one key is trusted", "--add"


class FileWatch:
    """Notices that a key or ticket file is another one than before; what it holds is the caller's to read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()

    def changed(self) -> bool:
        """Whether the file has changed since the last call; while it is away, what is in use stays."""
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return False
        self._seen = stamp
        return True

    def _stamp(self) -> tuple[int, int, int, int] | None:
        try:
            facts = os.stat(self._path)
        except OSError:
            return None
        # chmod changes only the last one.
        return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
