"""Start processes that have torch loaded already, on every platform.

A forkserver imports torch once and forks quickly (in a fifth of the time that spawning takes); where there is none
(Windows), processes are spawned. Plain fork is never used: it copies threads' locks in whatever state they are.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import types
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from marl.processes.signals import remove_at_the_end

# The path of a socket has 103 characters at most on some systems; "/pymp-12345678/listener-12345678" has 32.
LONGEST_FOLDER = 70
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def start_forkserver(*preload: str) -> None:
    """Start loading torch and ``preload`` in the background; call this before the main process imports torch itself."""
    if _METHOD != "forkserver":
        return
    from multiprocessing import forkserver

    root = str(Path(__file__).resolve().parents[2])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in paths:  # a run from a checkout that is not installed
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, paths)])
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["MARL_PRELOAD"] = " ".join(preload)
    os.environ["MARL_MAIN"] = str(os.getpid())
    context().set_forkserver_preload(["marl.processes.preload"])
    _choose_short_folder()
    remove_at_the_end(_remove_sockets)
    with without_main_module(), holding_interrupts():
        forkserver.ensure_running()


def _choose_short_folder() -> None:
    """Let ``multiprocessing`` keep its sockets where their paths are short enough, if ``TMPDIR`` is not.

    It makes one folder, when it first needs one, and tells its processes; it removes it, too.
    """
    import tempfile
    from multiprocessing import util

    if len(os.fsencode(tempfile.gettempdir())) <= LONGEST_FOLDER:
        return
    before = tempfile.tempdir
    for folder in SHORT_FOLDERS:
        try:
            tempfile.tempdir = folder
            util.get_temp_dir()
        except OSError:  # it is not there, or not to be written to
            continue
        finally:
            tempfile.tempdir = before
        return


def _remove_sockets() -> None:
    """The folder in which ``multiprocessing`` keeps them."""
    process: Any = multiprocessing.current_process()
    folder = process._config.get("tempdir")
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def fork_forkserver() -> None:
    """Give this process a forkserver that has loaded what it has: by fork, so only while there is no other thread.

    Where that cannot be, the next process starts one that loads everything by itself.
    """
    if _METHOD != "forkserver":
        return
    import inspect
    import socket
    import tempfile
    from multiprocessing import forkserver, util

    if "authkey_r" in inspect.signature(forkserver.main).parameters:  # newer Pythons tell it a secret as well
        return
    server: Any = forkserver._forkserver
    with socket.socket(socket.AF_UNIX) as listener:
        address = tempfile.mktemp(prefix="listener-", dir=util.get_temp_dir())
        listener.bind(address)
        listener.listen()
        alive, alive_here = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(alive_here)
                forkserver.main(listener.detach(), alive, ())
            finally:
                os._exit(0)
        os.close(alive)
    server._forkserver_address, server._forkserver_alive_fd, server._forkserver_pid = address, alive_here, pid


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
def holding_interrupts() -> Iterator[None]:
    """A blocked signal stays blocked across exec: Ctrl-C must not reach a process that still loads; we get it later.

    Such a process calls ``let_interrupts_in`` once it ignores them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # the start of a process would do it, and unblock what is blocked here
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_interrupts_in() -> None:
    """Take back what ``holding_interrupts`` has handed down to this process."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
