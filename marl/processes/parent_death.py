"""A process that ends at once with the one that started it, by the kernel's hand; nothing happens but on Linux."""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """End as soon as the thread of process ``parent`` that started this one has ended; now, if it already has."""
    if _on_death_of_parent(signal.SIGKILL) and os.getppid() != parent:
        os._exit(1)


def outlive() -> None:
    """Take ``die_with`` back."""
    _on_death_of_parent(0)


def _on_death_of_parent(number: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) == 0)
    return False
