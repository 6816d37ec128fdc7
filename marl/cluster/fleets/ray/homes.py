"""Folders of the keys of runs on Ray: at the parent, and one at each child."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from marl.cluster.fleets.local import remove_home

BEGINNING = "marl-ray-"  # the number of the process that made it follows


def new_home() -> Path:
    """A folder that only this user can look into. Those of processes that were killed are removed."""
    remove_left()
    return Path(tempfile.mkdtemp(prefix=f"{BEGINNING}{os.getpid()}-"))


def remove_left() -> None:
    """Remove this user's folders whose processes are gone, on systems that say whether a process lives."""
    if os.name == "nt":
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{BEGINNING}*-*"):
        number = folder.name.removeprefix(BEGINNING).partition("-")[0]
        with contextlib.suppress(OSError):
            if number.isdigit() and folder.stat().st_uid == os.getuid() and not _lives(int(number)):
                remove_home(folder)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # another user's
    return True
