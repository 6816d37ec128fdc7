"""Memory that is free but still the process's: the C library keeps it, and on some systems ever more of it.

Measured on LunarLander-v3: a worker's heap grows by hundreds of bytes an environment step though nothing is lost, and
``malloc_trim`` gives it all back. The likely cause is how glibc reuses aligned memory, which tensors ask for.
"""

import ctypes
import time
from collections.abc import Callable
from functools import cache

EVERY = 5.0  # seconds: often enough to stay small, and a few milliseconds each time


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # not glibc
        return None


def give_back() -> None:
    """Return what is free to the system, where that can be asked for: after a crowd, say."""
    trim = _trim()
    if trim is not None:
        trim(0)


def tidily(go_on: Callable[[], bool]) -> Callable[[], bool]:
    """The same question, and now and then free memory goes back to the system before it is asked."""
    trim = _trim()
    if trim is None:
        return go_on
    due = time.monotonic() + EVERY

    def ask() -> bool:
        nonlocal due
        if time.monotonic() >= due:
            trim(0)
            due = time.monotonic() + EVERY
        return go_on()

    return ask
