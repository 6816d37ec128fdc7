"""Children on this machine, for one run: started before anything heavy is imported, ended with it."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from marl.errors import LinkClosed
from marl.plugins import ANYTHING
from marl.processes.cores import count_cores

READY_S = 60.0  # a child has to import torch first, on a machine where others do the same
STOP_S = 10.0


class LocalChildren:
    """Processes that run ``marl child`` on loopback, with a key of their own that nobody else has.

    with LocalChildren(2) as children:
        addresses = children.addresses()
    """

    def __init__(self, count: int, *, workers: int = 0) -> None:
        """Start them; ``addresses`` waits until they listen.

        Args:
            workers: of each child; 0: all cores but one, shared among them, at least one each.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="marl-local-")
        self.home = Path(self._folder.name)
        each = workers or max(1, (count_cores() - 1) // count)
        command = [sys.executable, "-m", "marl", "child", "-p", "0", "--workers", str(each), "--until-stdin-closes"]
        command += ["--allow", ANYTHING]  # only this run's parent has their key, and it is the same user's
        environment = {**os.environ, "MARL_HOME": str(self.home)}
        root = str(Path(__file__).resolve().parents[2])
        paths = environment.get("PYTHONPATH", "").split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([root, *filter(None, paths)]))
        self._children = [_Child(command, environment) for unused in range(count)]

    def __enter__(self) -> "LocalChildren":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def addresses(self) -> list[str]:
        """Where they listen.

        Raises:
            LinkClosed: one does not.
        """
        deadline = time.monotonic() + READY_S
        return [child.address(deadline) for child in self._children]

    def died(self) -> list[str]:
        """Why children ended that nobody told to, one line each; they are started again."""
        return [line for child in self._children if (line := child.revive())]

    def close(self) -> None:
        """End them all. May be called twice."""
        for child in self._children:
            child.ask_to_end()
        deadline = time.monotonic() + STOP_S
        for child in self._children:
            child.end(deadline)
        self._folder.cleanup()


class _Child:
    """One process and what it says."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command, self._environment = command, environment
        self._ready = threading.Event()
        self._address = ""
        self._ending = False
        self._lines: list[str] = []
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,  # Ctrl-C is for the parent, which then tells its children
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            self._lines = [*self._lines[-20:], line]
            before, found, after = line.partition("listening on ")
            if found and before.startswith("child "):
                self._address = after.split()[0].partition("://")[2]
                self._ready.set()
        self._ready.set()  # whoever waits is told that it ended

    def address(self, deadline: float) -> str:
        self._ready.wait(max(0.0, deadline - time.monotonic()))
        if not self._address:
            said = self._lines[-1] if self._lines else "nothing"
            raise LinkClosed(f"expected a local child to listen within {READY_S:.0f} s, it said: {said}")
        return self._address

    def revive(self) -> str | None:
        """Start it again if it died, at the address it had: that is where the parent looks for it."""
        code = self._process.poll()
        if code is None or self._ending or not self._address:
            return None
        port = self._address.rpartition(":")[2]
        where = self._command.index("-p") + 1
        self._command = [*self._command[:where], port, *self._command[where + 1 :]]
        self._reader.join(1.0)  # its last line says why
        said = self._lines[-1] if self._lines else "nothing"
        self._start()
        return f"the local child at {self._address} ended with code {code} ({said}) and is started again"

    def ask_to_end(self) -> None:
        self._ending = True
        if self._process.stdin is not None:
            self._process.stdin.close()

    def end(self, deadline: float) -> None:
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(2.0)
