"""What a process of ours has started, found by a mark in its environment variables and ended with it.

Environments start simulators. One that is killed, or whose worker is, leaves them to nobody; and neither process groups
nor sessions would do: a simulator may lead its own, and Ctrl-Z stops only the group of the terminal.
"""

import contextlib
import os
import signal
import uuid
from collections.abc import Collection
from pathlib import Path

_NAME = "MARL_OWNER"


def new_mark() -> str:
    """One that no other process has."""
    return uuid.uuid4().hex


def mark_descendants(mark: str) -> None:
    """What this process starts from now on carries the mark; what it forks, without a program of its own, does not."""
    os.environ[_NAME] = mark


def kill_descendants(marks: Collection[str]) -> None:
    """End every process that carries one of them; nothing happens where there is no ``/proc``."""
    wanted = {f"{_NAME}={mark}".encode() for mark in marks}
    try:
        found = [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    except OSError:
        return
    for name in found:
        with contextlib.suppress(OSError):  # it has just ended, or is another user's
            if not wanted.isdisjoint(Path("/proc", name, "environ").read_bytes().split(b"\0")):
                os.kill(int(name), signal.SIGKILL)
