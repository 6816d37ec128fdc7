"""How much memory is left for something large that all processes share."""

import os
from pathlib import Path

NO_MEMORY = (
    "out of memory: make network.hidden, environment.per_worker, algorithm.t_max or replay.capacity smaller, "
    "or take fewer node.workers"
)
SHARED = Path("/dev/shm")  # where torch keeps shared memory on Linux


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the system has no more memory; torch has no type for that."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


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
