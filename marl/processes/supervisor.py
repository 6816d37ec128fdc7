"""Keep one program running: started again when it was killed, ended together with this process."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from marl.processes.interpreter import interpreter

SHORTEST_BREAK, LONGEST_BREAK = 0.1, 5.0  # seconds between two lives
LONG_LIFE = 10.0  # seconds after which a failure says nothing about the command line
STOP_S = 8.0  # for the program to end by itself


def supervise(command: list[str], stopped: threading.Event, note: Callable[[str], None]) -> int:
    """Run ``command`` until it ends by itself or ``stopped`` is set; its exit code.

    Its standard input is a pipe that closes when this process ends in whatever way: it has to end then.
    """
    pause = SHORTEST_BREAK
    while True:
        started = time.monotonic()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=_standard_output()) as program:
            code = _wait(program, stopped)
        lived = time.monotonic() - started
        if stopped.is_set():
            return code if code >= 0 else 128 - code  # as a shell reports a process that a signal ended
        if code >= 0 and (code == 0 or lived < LONG_LIFE):
            return code  # it has said why
        pause = SHORTEST_BREAK if lived > LONG_LIFE else min(2 * pause, LONGEST_BREAK)
        note(f"{_words(code)}; it is started again")
        stopped.wait(pause)
        if stopped.is_set():
            return 0


def _standard_output() -> int | None:
    """Where this process's own words go, which may be elsewhere than file descriptor 1 leads."""
    try:
        return sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def _wait(program: "subprocess.Popen[bytes]", stopped: threading.Event) -> int:
    """Until it has ended; once ``stopped`` is set it is asked to, and then made to."""
    while not stopped.is_set():
        try:
            return program.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    assert program.stdin is not None
    program.stdin.close()
    try:
        return program.wait(STOP_S)
    except subprocess.TimeoutExpired:
        program.kill()
        return program.wait()


def _words(code: int) -> str:
    if code >= 0:
        return f"the process that talks to parents ended with code {code}"
    try:
        return f"the process that talks to parents was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"the process that talks to parents was killed by signal {-code}"


def this_program(*words: str) -> list[str]:
    """A command line that runs marl in this interpreter."""
    return [*interpreter(), "-m", "marl", *words]
