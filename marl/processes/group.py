"""A handful of named processes that live and die together."""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from marl.errors import MarlError, SpaceFault
from marl.processes.bootstrap import (
    context,
    fork_forkserver,
    holding_interrupts,
    let_interrupts_in,
    without_main_module,
)
from marl.processes.descendants import kill_descendants, mark_descendants, new_mark
from marl.processes.ending import close_at_the_end, ends_by_sigterm
from marl.processes.memory import NO_MEMORY, out_of_memory
from marl.processes.parent_death import end_with_main_process
from marl.processes.signals import STOPPING

logger = logging.getLogger(__name__)

CLOSING_S = 4.0  # for a process to close what it holds, once it was told by SIGTERM or its main process is gone

Target = Callable[..., None]  # an importable function; its first argument is the process's end of the pipe


class Failure(NamedTuple):
    """Why a process ended that should not have."""

    text: str  # one line
    trace: str  # the whole traceback, or "" where the process was killed
    permanent: bool  # an error that a restart cannot mend, unless the process has worked before
    repeats: bool = False  # an error in which every further try ends


class Member(NamedTuple):
    """One process of a group and the main process's end of its pipe."""

    name: str
    process: BaseProcess
    pipe: Connection
    mark: str  # of what it has started
    may_end: Callable[[], bool]  # whether it was asked to end, or has done all that there was to do


class ProcessGroup:
    """Starts processes and, on leaving the ``with`` block, ends every one of them.

    with ProcessGroup() as group:
        group.start("worker 0", function, argument)
        for name, failure in group.check(): ...
    """

    def __init__(self, patience: float = 1.0, closing: float = CLOSING_S, *, nested: bool = False) -> None:
        """``nested``: each leads a session and has a group of its own, with what it has loaded itself."""
        self.members: dict[str, Member] = {}
        self._failures: dict[str, Failure] = {}  # received, and not yet told by ``check``
        self._patience = patience  # seconds that a process gets to end by itself
        self._closing = closing  # and then, once it was told by SIGTERM
        self._nested = nested

    def __enter__(self) -> "ProcessGroup":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def start(self, name: str, target: Target, *args: Any, may_end: Callable[[], bool] = lambda: False) -> Member:
        """Start ``target(pipe, *args)`` in a process of this name.

        Args:
            may_end: whether it is no failure if the process ends now, with exit code 0.
        """
        ours, theirs = context().Pipe()
        mark = new_mark()
        process = _started(name, (name, theirs, mark, self._nested, target, args))
        theirs.close()
        member = Member(name, process, ours, mark, may_end)
        self.members[name] = member
        return member

    def send(self, name: str, message: Any) -> None:
        """To a process of the group; it may have died meanwhile, which ``check`` will tell."""
        with contextlib.suppress(OSError):
            self.members[name].pipe.send(message)

    def receive(self, name: str, seconds: float = 0.0) -> Any | None:
        """What a process of the group says within ``seconds``; None if it says nothing, has died or has left."""
        if name not in self.members:
            return None
        pipe = self.members[name].pipe
        try:
            message = pipe.recv() if pipe.poll(seconds) else None
        except (EOFError, OSError):
            return None
        if isinstance(message, Failure):
            self._failures[name] = message
            return None
        return message

    def check(self, beginning: str = "") -> list[tuple[str, Failure]]:
        """Processes that ended though nobody asked them to, of those whose name begins so; they leave the group."""
        failures = []
        for member in list(self.members.values()):
            if not member.name.startswith(beginning) or member.process.is_alive():
                continue
            failure = self._failures.pop(member.name, None) or _failure(member)
            self._forget(member)
            kill_descendants([member.mark])
            if failure is not None:
                failures.append((member.name, failure))
        return failures

    def wait(self, seconds: float) -> None:
        """Until a process ends or says something, at most so long."""
        places: list[Any] = [member.process.sentinel for member in self.members.values()]
        places += [member.pipe for member in self.members.values()]
        if places:
            connection.wait(places, seconds)
        else:
            time.sleep(seconds)  # there is no process that could end or speak

    def close(self) -> None:
        """End all: by themselves within the patience, then by SIGTERM, then by SIGKILL. May be called twice."""
        for member in self.members.values():
            member.pipe.close()  # who waits for a message ends now
        for step, seconds in (("", self._patience), ("terminate", self._closing), ("kill", 0.5)):
            deadline = time.monotonic() + seconds
            for member in self.members.values():
                if step and member.process.is_alive():
                    getattr(member.process, step)()
            for member in self.members.values():
                member.process.join(max(0.0, deadline - time.monotonic()))
        marks = [member.mark for member in self.members.values()]
        for member in list(self.members.values()):
            self._forget(member)
        if marks:
            kill_descendants(marks)

    def _forget(self, member: Member) -> None:
        member.process.join(0.5)
        member.pipe.close()
        with contextlib.suppress(ValueError):
            member.process.close()
        del self.members[member.name]


def _started(name: str, args: tuple[Any, ...]) -> BaseProcess:
    """A running process. A forkserver killed a moment ago still looks alive: then ask again, of its successor."""
    for attempts_left in reversed(range(10)):
        process: BaseProcess = context().Process(  # type: ignore[attr-defined]
            target=_run, args=args, name=f"marl {name}", daemon=True
        )
        try:
            with without_main_module(), holding_interrupts():
                process.start()
            return process
        except (EOFError, ConnectionError):
            if not attempts_left:
                raise
            time.sleep(0.02)  # its parent learns of the death only once the kernel has tidied up
    raise AssertionError("the last attempt returns or raises")


def _failure(member: Member) -> Failure | None:
    """What a process that ended left in its pipe, or what its exit code says; None if it ended well and might."""
    with contextlib.suppress(EOFError, OSError):
        while member.pipe.poll():
            message = member.pipe.recv()
            if isinstance(message, Failure):
                return message
    code = member.process.exitcode
    if code == 0:
        return None if member.may_end() else Failure("ended by itself with exit code 0", "", False)
    if code is not None and code < 0:
        name = _signal_name(-code)
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return Failure(f"killed by {name}{hint}", "", False)
    return Failure(f"ended with exit code {code}", "", False)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"


def _run(name: str, pipe: Connection, mark: str, nested: bool, target: Target, args: tuple[Any, ...]) -> None:
    """First function of every process."""
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            if number != signal.SIGTERM:  # the whole group gets them; only the main process answers
                signal.signal(number, signal.SIG_IGN)
        let_interrupts_in()
    _name_process(name)
    _leave_standard_output()
    multiprocessing.current_process().daemon = False  # environments may start processes; all end with this one
    mark_descendants(mark)
    if nested:
        with contextlib.suppress(OSError, AttributeError):  # some platforms have no sessions
            os.setsid()  # Ctrl-C in the terminal is for the main process, which then tells this one
        fork_forkserver()  # now, while there is one thread; in the same session
    orphaned = threading.Event()
    watch = threading.Thread(
        target=end_with_main_process, args=(mark, orphaned, CLOSING_S), name="watch main process", daemon=True
    )
    watch.start()
    with ends_by_sigterm():
        close_at_the_end(_Started(mark, orphaned))
        try:
            target(pipe, *args)
        except Exception as error:
            if isinstance(error, EOFError) and _is_closed(pipe):
                return  # the main process wants no more
            text = str(error) if isinstance(error, MarlError) else f"{type(error).__name__}: {error}"
            text = NO_MEMORY if out_of_memory(error) else text
            with contextlib.suppress(OSError, ValueError):
                failure = Failure(
                    text, traceback.format_exc(), isinstance(error, MarlError), isinstance(error, SpaceFault)
                )
                pipe.send(failure)
            sys.exit(1)


def _is_closed(pipe: Connection) -> bool:
    """Whether the main process has closed its end; drops what it has said before."""
    try:
        while pipe.poll():
            pipe.recv_bytes()
    except (EOFError, OSError):
        return True
    return False


class _Started(NamedTuple):
    """What this process has started and not ended."""

    mark: str
    orphaned: threading.Event  # set when there is no main process that would end it

    def close(self) -> None:
        children = multiprocessing.active_children()
        for child in children:
            child.terminate()
        deadline = time.monotonic() + CLOSING_S / 2
        for child in children:
            child.join(max(0.0, deadline - time.monotonic()))
            if child.is_alive():  # it holds SIGTERM off, or was being forked when that came: Python forgets it then
                child.kill()
        if self.orphaned.is_set():
            kill_descendants([self.mark])


def _leave_standard_output() -> None:
    """What environments print, and what libraries write, is for standard error: the command's own words may be JSON."""
    with contextlib.suppress(OSError):
        os.dup2(2, 1)
    sys.stdout = sys.stderr


def _name_process(name: str) -> None:
    with contextlib.suppress(OSError):
        from pathlib import Path

        Path("/proc/self/comm").write_text(f"marl {name}"[:15])
