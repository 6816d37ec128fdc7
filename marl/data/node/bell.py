"""How a process of a node wakes up another that waits for what it writes into the shared memory.

The one that waits sleeps in the system until the other has rung (Linux: a futex), where there is no such thing it looks
again and again, less often the longer it has waited. Nobody holds anything: one that is killed before it rings makes
the other wait for ``LONGEST_S`` more.
"""

import ctypes
import functools
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy.typing as npt

LONGEST_S = 0.005  # until the one that waits looks by itself
SHORTEST_S, PATIENT = 1e-4, 0.1  # where the system cannot wake up anybody: between two looks, and of the time waited
_SYSTEM_CALLS = {"x86_64": 202, "aarch64": 98, "riscv64": 98}  # number of futex, by machine
_WAIT, _WAKE = 0, 1
_ALL = 2**31 - 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


_LONGEST = _Timespec(0, int(1e9 * LONGEST_S))


class Bell:
    """A number in shared memory, another one each time that somebody rings."""

    def __init__(self, word: npt.NDArray[Any]) -> None:
        """``word``: int64 [1 or more]; the first one is the number."""
        self._word, self._futex, self._address = word, _futex(), word.ctypes.data

    def ring(self) -> None:
        """Wake up all that wait; what they wait for is written."""
        self._word[0] = time.perf_counter_ns()  # a number that it never had, also where two ring at once
        if self._futex is not None:
            self._futex(self._address, _WAKE, _ALL, None)

    def wait_for(self, there: Callable[[], bool]) -> None:
        """Until ``there`` returns True, which is asked each time that somebody has rung, and now and then."""
        seen = int(self._word[0])  # before the question: who rings meanwhile is not missed
        waited = 0.0
        while not there():
            if self._futex is None:
                pause = min(max(SHORTEST_S, PATIENT * waited), LONGEST_S)
                time.sleep(pause)  # poll: systems without a futex have nothing that a killed process cannot hold
                waited += pause
            else:
                self._futex(self._address, _WAIT, seen & 0xFFFFFFFF, ctypes.byref(_LONGEST))
            seen = int(self._word[0])


@functools.cache
def _futex() -> Callable[..., int] | None:
    """The system call, of (address, operation, number, longest time); None where there is none."""
    number = _SYSTEM_CALLS.get(platform.machine())
    if sys.platform != "linux" or sys.byteorder != "little" or number is None or sys.maxsize < 2**32:
        return None
    call = ctypes.CDLL(None).syscall
    call.argtypes = (ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)
    call.restype = ctypes.c_long
    word = ctypes.c_uint32()
    if call(number, ctypes.addressof(word), _WAKE, 1, None) != 0:  # forbidden here
        return None
    return functools.partial(call, number)
