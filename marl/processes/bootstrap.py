"""Start processes that have torch loaded already, on every platform.

A forkserver imports torch once and forks quickly (in a fifth of the time that spawning takes); where there is none
(Windows), processes are spawned. Plain fork is never used: it copies threads' locks in whatever state they are.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from pathlib import Path

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def start_forkserver(*preload: str) -> None:
    """Start loading torch and ``preload`` in the background; call this before the main process imports torch itself."""
    if _METHOD != "forkserver":
        return
    from multiprocessing import forkserver, resource_tracker

    root = str(Path(__file__).resolve().parents[2])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in paths:  # a run from a checkout that is not installed
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, paths)])
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["MARL_PRELOAD"] = " ".join(preload)
    os.environ["MARL_MAIN"] = str(os.getpid())
    context().set_forkserver_preload(["marl.processes.preload"])
    resource_tracker.ensure_running()  # the forkserver's start would do it, and unblock what is blocked below
    with without_main_module(), _holding_interrupts():
        forkserver.ensure_running()


def context() -> BaseContext:
    """The start method of this platform."""
    return multiprocessing.get_context(_METHOD)


@contextlib.contextmanager
def without_main_module() -> Iterator[None]:
    """Keep new processes from importing the user's script again.

    Their targets are importable functions, so they need not; and a script without ``if __name__ == "__main__"`` works.
    """
    main = sys.modules["__main__"]
    blank = types.ModuleType("__main__")
    blank.__spec__ = None
    sys.modules["__main__"] = blank
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _holding_interrupts() -> Iterator[None]:
    """A blocked signal stays blocked across exec: Ctrl-C must not kill a loading forkserver; we get it later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
