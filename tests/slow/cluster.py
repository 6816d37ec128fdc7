"""Children and parents as the real commands start them, and what they say, line by line."""

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from marl.training.saved.weights_file import read
from tests.commands import BARE, MARL, PATIENCE_S, named, session, started, until

# Rounds often enough that a test need not wait for them.
OFTEN = ("--set", "exchange.every='0.2 seconds'")
STOP_S = 10.0  # for a node to end: a child waits up to 5 s for its parent to take its STOP
_READY = r"^child (\S+) listening on (wss?)://(\S+):(\d+) with"


class Node:
    """A command that runs, and the lines it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._said = threading.Condition()
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [self._read(process.stdout, self.lines), self._read(process.stderr, self.errors)]

    def wait(self, pattern: str, *, after: int = 0, seconds: float = PATIENCE_S) -> re.Match[str]:
        """The first line that holds ``pattern``, of those after the first ``after``; it may still have to come."""

        def found() -> re.Match[str] | None:
            return next(filter(None, (re.search(pattern, line) for line in self.lines[after:])), None)

        with self._said:
            self._said.wait_for(lambda: found() or not self._readers[0].is_alive(), seconds)
            match = found()
        assert match, f"no line with {pattern!r} within {seconds} s:\n" + "\n".join(self.lines + self.errors)
        return match

    def wait_for_error(self, text: str, *, after: int = 0, seconds: float = PATIENCE_S) -> None:
        """A line on standard error that holds ``text``, after the first ``after``."""
        with self._said:
            found = self._said.wait_for(lambda: any(text in line for line in self.errors[after:]), seconds)
        assert found, f"no error with {text!r} within {seconds} s:\n" + "\n".join(self.lines + self.errors)

    def end_hard(self) -> None:
        """``kill -9`` of the command alone: what it has started notices, and ends by itself."""
        self.process.kill()
        self.process.wait()
        until(lambda: not session(self.process.pid), STOP_S)

    def vanish(self) -> None:
        """``kill -9`` of the command and of all that it has started, as when its machine loses power."""
        for pid in session(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        until(lambda: not session(self.process.pid), STOP_S)

    def end(self, number: signal.Signals | None = None) -> int:
        """Its exit code after ``number``, or of itself; nothing of it is left then."""
        if number is not None:
            self.process.send_signal(number)
        self.process.wait(STOP_S if number is not None else PATIENCE_S)
        until(lambda: not session(self.process.pid), STOP_S)
        for reader in self._readers:
            reader.join(STOP_S)
        assert not left_in_memory(), "it left shared memory behind"
        assert "Traceback" not in "\n".join(self.lines + self.errors), self.lines + self.errors
        return self.process.returncode

    def signal_workers(self, number: signal.Signals) -> None:
        """Send it to all its workers."""
        for pid in until(lambda: named(self.process, "marl worker"), of=self.process):
            os.kill(pid, number)

    def _read(self, stream: IO[str], into: list[str]) -> threading.Thread:
        def read() -> None:
            for line in stream:
                with self._said:
                    into.append(line.rstrip("\n"))
                    self._said.notify_all()
            with self._said:
                self._said.notify_all()

        reader = threading.Thread(target=read, name="reader", daemon=True)
        reader.start()
        return reader


class Child(Node):
    """``marl child``; whoever asks where it listens waits until it does."""

    @property
    def name(self) -> str:
        """Its node id."""
        return self.wait(_READY)[1]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.wait(_READY)[4])

    @property
    def address(self) -> str:
        """Address and port."""
        return f"{self.wait(_READY)[3]}:{self.port}"

    @property
    def contact(self) -> int:
        """The process that talks to parents; 0 where there is none just now."""
        for pid in session(self.process.pid):
            with suppress(OSError):
                if b"--contact" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    return pid
        return 0


class Parent(Node):
    """``marl parent --plain``."""

    def wait_for_children(self, count: int, seconds: float = PATIENCE_S) -> None:
        """Until a progress line that is still to come says that so many take part."""
        self.wait(rf"children {count}/", after=len(self.lines), seconds=seconds)


@contextmanager
def child(
    cwd: Path, *words: str, port: int = 0, workers: int = 1, program: Sequence[str] = (*MARL, "child")
) -> Iterator[Child]:
    """A child on loopback, until the end of the block."""
    with started(*program, "-p", str(port), "--workers", str(workers), *words, cwd=cwd) as process:
        yield Child(process)


@contextmanager
def parent(
    cwd: Path, children: Sequence[Child | str], *words: str, program: Sequence[str] = (*MARL, "parent")
) -> Iterator[Parent]:
    """A parent of these children (or addresses), until the end of the block; ENV comes first among the words."""
    addresses = [each if isinstance(each, str) else each.address for each in children]
    with started(*program, *words, "--plain", *BARE, "-ip", *addresses, cwd=cwd) as process:
        yield Parent(process)


@contextmanager
def at_home(folder: Path) -> Iterator[Path]:
    """Commands that are started meanwhile have this MARL_HOME."""
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARL_HOME", str(folder))
        yield folder


def version(folder: Path) -> int:
    """Of the global weights in the checkpoint of the newest run below ``folder``, which every round replaces."""
    newest = max(folder.glob("runs/*/checkpoint.pt"), key=lambda path: path.stat().st_mtime, default=None)
    return int(read(newest).info["version"]) if newest else 0


def wait_for_rounds(parent: Parent, folder: Path, count: int = 2) -> int:
    """Until the run has made so many more versions of the weights; the newest."""
    wanted = version(folder) + count
    until(lambda: version(folder) >= wanted, of=parent.process)
    return version(folder)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on now, each another."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]


def left_in_memory() -> list[str]:
    """Files in shared memory whose maker, whose number torch puts into the name, is no more."""
    makers = {name: re.match(r"torch_(\d+)_", name) for name in os.listdir("/dev/shm")}
    return [name for name, maker in makers.items() if maker and not Path(f"/proc/{maker[1]}").exists()]
