"""Named places where a test can make a process fail: ``fail("name")`` does nothing until the environment arms it.

    MARL_FAILPOINTS="round.closing=kill@3,upload.sending=stop"

arms them for a process and those it starts: at the third passage of the first, SIGKILL; at each passage of the second,
SIGSTOP. Actions: kill, stop, raise, corrupt (one bit of the memory that is passed along). Without ``@n``: every time.
"""

import os
import signal
import threading
from typing import NamedTuple

from marl.errors import FailpointError

VARIABLE = "MARL_FAILPOINTS"
ACTIONS = ("kill", "stop", "raise", "corrupt")


class _Armed(NamedTuple):
    action: str
    at: int  # the passage, counted from 1; 0: every one


def _read(text: str) -> dict[str, _Armed]:
    armed = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, rest = part.partition("=")
        action, _, at = rest.partition("@")
        if action not in ACTIONS or not (at or "1").isdigit():
            raise FailpointError(f"{VARIABLE}: expected name=action@n with one of {', '.join(ACTIONS)}, got {part!r}")
        armed[name] = _Armed(action, int(at or 0))
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
    if armed.at not in (0, passage):
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
