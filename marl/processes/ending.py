"""SIGTERM as an exception in the processes of a group, so that what they hold is closed before they end."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import util
from types import FrameType
from typing import ClassVar, Protocol, TypeVar


class Terminated(BaseException):
    """This process was asked to end by SIGTERM."""


class Closes(Protocol):
    """What holds something that must be given back."""

    def close(self) -> None:
        """Give it back."""
        ...


T = TypeVar("T", bound=Closes)


class _State:
    owner = 0  # the process in which SIGTERM raises; those that it forks end as if there were no handler
    ending = False
    to_close: ClassVar[list[Closes]] = []


@contextmanager
def ends_by_sigterm() -> Iterator[None]:
    """SIGTERM raises ``Terminated`` in the block, once; what is to be closed is, and then the process ends by it."""
    terminated = False
    _State.owner, _State.ending = os.getpid(), False
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _raise)
        yield
    except Terminated:
        terminated = True
    finally:
        _State.ending = True
        with ExitStack() as stack:  # all are closed, whatever one of them raises
            for thing in _State.to_close:
                stack.callback(thing.close)
            _State.to_close.clear()
    if terminated:
        util._run_finalizers(0)  # type: ignore[attr-defined]  # semaphores that this process has made, by name
        _end()


def close_at_the_end(thing: T) -> T:
    """The same; it is closed when the process's work ends, in whatever way. SIGTERM does not stop the closing."""
    _State.to_close.append(thing)
    return thing


def _raise(unused_number: int, unused_frame: FrameType | None) -> None:
    if os.getpid() != _State.owner:
        _end()
    elif not _State.ending:
        _State.ending = True
        raise Terminated


def _end() -> None:
    """As a process ends that has no handler: those who wait for it see the signal."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
