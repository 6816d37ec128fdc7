"""One command at a time writes to a run folder."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from marl.errors import RunFolderError
from marl.files import parse_json, read_file, refuse_special
from marl.reports.run_folder import write_atomic

LOCK, HOLDER = ".lock", ".holder"  # files of a run folder: what is locked, and who has locked it
MAX_HOLDER = 1_000  # bytes
BESIDE = "; to train beside it, start a new run with --init"


@contextlib.contextmanager
def writing(folder: Path, *, wait_s: float = 0.0, advice: str = BESIDE) -> Iterator[None]:
    """Keep a run folder for this process until the end of the block.

    The lock is the operating system's: it ends with the process, however that ends.

    Args:
        wait_s: seconds for another command to end.
        advice: what a user can do beside waiting for its end.

    Raises:
        RunFolderError: another command writes there, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        refuse_special(folder / LOCK)  # not every version of the library does
        lock.acquire(timeout=wait_s)
    except Timeout:
        raise RunFolderError(
            f"{folder} is in use: {_holder(folder)} writes to it. Wait for its end or stop it, then try again{advice}"
        ) from None
    except OSError as error:
        raise RunFolderError(
            f"expected a run folder to write at {folder}, got {error.strerror or error}: check its permissions"
        ) from error
    try:
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
        with contextlib.suppress(OSError):  # a full disk: the lock holds, only its holder stays unnamed
            write_atomic(folder / HOLDER, json.dumps(me).encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / HOLDER).unlink()
        lock.release()


def _holder(folder: Path) -> str:
    """Who has the lock, in words."""
    try:
        known = parse_json(read_file(folder / HOLDER, MAX_HOLDER))
        return f"process {int(known['pid'])} on {_word(known['host'])}, since {_word(known['since'])},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another command"


def _word(value: object) -> str:
    return "".join(letter for letter in str(value)[:80] if letter.isprintable())
