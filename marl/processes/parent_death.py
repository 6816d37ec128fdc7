"""A process that ends when the main process has died: at once by the kernel's hand, or after closing what it holds.

The first is for a process that holds nothing yet; it does nothing but on Linux.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from multiprocessing import connection, parent_process

from marl.processes.descendants import kill_descendants

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """End as soon as the thread of process ``parent`` that started this one has ended; now, if it already has."""
    if _on_death_of_parent(signal.SIGKILL) and os.getppid() != parent:
        os._exit(1)


def outlive() -> None:
    """Take ``die_with`` back."""
    _on_death_of_parent(0)


def end_with_main_process(mark: str, orphaned: threading.Event, closing_s: float) -> None:
    """Wait for the main process's death, then end this one. Under a forkserver it is not the main process's child:
    nobody else would end it.

    Args:
        mark: of what this process has started.
        orphaned: set when the main process has died.
        closing_s: seconds in which the main thread may close its environments.
    """
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        orphaned.set()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(closing_s)
        kill_descendants([mark])
        os._exit(1)


def _on_death_of_parent(number: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) == 0)
    return False
