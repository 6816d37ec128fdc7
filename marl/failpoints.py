"""Named places where a test can make a process fail: ``fail("name")`` does nothing until the environment arms it.

    MARL_FAILPOINTS="round.closing=kill@3,upload.sending=stop,child.snapshot=poison@2-4"

arms them for a process and those it starts: at the third passage of the first, SIGKILL; at each passage of the second,
SIGSTOP; from the second to the fourth of the third, one number in the memory that is passed along, of float32, is none
any more (NaN). Actions: kill, stop, raise, poison, and corrupt, which flips one bit. Without ``@``: every time.
"""

import os
import signal
import struct
import sys
import threading
from typing import NamedTuple

from marl.errors import FailpointError

VARIABLE = "MARL_FAILPOINTS"
ACTIONS = ("kill", "stop", "raise", "corrupt", "poison")
_NAN = struct.pack("=f", float("nan"))


class _Armed(NamedTuple):
    action: str
    first: int  # passage, counted from 1
    last: int


def _read(text: str) -> dict[str, _Armed]:
    armed = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, rest = part.partition("=")
        action, _, at = rest.partition("@")
        first, _, last = at.partition("-")
        if action not in ACTIONS or not (first or "1").isdigit() or not (last or "1").isdigit():
            raise FailpointError(
                f"{VARIABLE}: expected name=action@n or name=action@n-m with one of {', '.join(ACTIONS)}, got {part!r}"
            )
        armed[name] = _Armed(action, int(first or 1), int(last or first or sys.maxsize))
    return armed


_armed = _read(os.environ.get(VARIABLE, ""))
_passages: dict[str, int] = {}
_lock = threading.Lock()  # guards _passages


def fail(name: str, memory: memoryview | None = None) -> None:
    """A place that a test may make fail; ``memory`` is what a corruption would hit.

    Raises:
        FailpointError: armed to raise.
    """
    if _armed:
        _pass(name, memory)


def _pass(name: str, memory: memoryview | None) -> None:
    armed = _armed.get(name)
    if armed is None:
        return
    with _lock:
        _passages[name] = passage = _passages.get(name, 0) + 1
    if not armed.first <= passage <= armed.last:
        return
    match armed.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "raise":
            raise FailpointError(f"failpoint {name}")
        case "corrupt" if memory:
            memory[len(memory) // 2] ^= 0x10
        case "poison" if memory:
            start = len(memory) // 8 * 4
            memory[start : start + 4] = _NAN
