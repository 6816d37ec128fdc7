"""How much memory is left for something large that all processes share."""

import os
from pathlib import Path

SHARED = Path("/dev/shm")  # where torch keeps shared memory on Linux


def free_bytes() -> int | None:
    """Bytes that shared memory may still take; None where that cannot be known."""
    limits = []
    try:
        room = os.statvfs(SHARED)
        limits.append(room.f_bavail * room.f_frsize)
    except (OSError, AttributeError):
        pass
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        numbers = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        limits.append(numbers["MemAvailable"] * 1024)
    except (OSError, ValueError, IndexError, KeyError):
        pass
    return min(limits) if limits else None
