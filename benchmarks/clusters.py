"""Real children, and a parent inside the benchmark, so that rounds and steps can be read while they happen."""

import os
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from marl.cluster.addresses import parse_addresses
from marl.cluster.find_spaces import find_spaces
from marl.cluster.fleets.dialing import Dialing
from marl.cluster.handshake import make_hello, payload_of
from marl.cluster.trainers.caller import Caller, Plan, Registry
from marl.cluster.trainers.child_metrics import ChildrenMetrics
from marl.config.files import load_config
from marl.config.settings import Config
from marl.exchanges.sides import RunSide
from marl.exchanges.weights.parent import WeightsParent
from marl.training.flat import flatten
from marl.trust.options import TrustOptions
from measure import ROOT, family

SLEEPER = "sleeper:Sleeper"
# Widths of two hidden layers by millions of parameters, for the Sleeper's four numbers and two actions.
WIDTHS = {1.0: 704, 1.7: 920}


def see_sleeper() -> None:
    """Let children that are started from here on import ``sleeper``."""
    paths = [str(ROOT), str(ROOT / "benchmarks"), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))


class BenchParent:
    """A parent's threads for real children: no checkpoints, no evaluation, no end but the block's."""

    def __init__(
        self,
        addresses: Iterable[str],
        settings: Mapping[str, Any],
        home: Path,
        *,
        environment: str = SLEEPER,
        config: Config | None = None,
        side: RunSide | None = None,
    ) -> None:
        """
        Args:
            home: holds the key that the children have.
            config: instead of ``settings``, and ``side`` what answers instead of a mean of weights.
        """
        config = config or load_config(environment, {"seed": 1, **settings})
        spaces = find_spaces(config)
        network = config.algorithm.build_network(spaces, config.network, 1)
        self.notes: list[str] = []
        self.num_weights = flatten(network).weights.numel()
        self.side: RunSide = side or WeightsParent(
            flatten(network).weights, config.exchange, name="parent", note=self.notes.append
        )
        run_id = f"bench-{secrets.token_hex(4)}"
        hello = make_hello(config, spaces, network, run_id=run_id, term=1, instance=secrets.token_hex(8))
        longest = payload_of(config, spaces, network)
        events: Any = SimpleNamespace(note=self.notes.append, on=lambda event: None)
        plan = Plan(hello, longest, self.side, "parent", events, ChildrenMetrics())
        self._dialing = Dialing(parse_addresses(addresses, 5050), TrustOptions(), home, self.notes.append)
        registry = Registry()
        self.callers = [Caller(endpoint, rank, plan, registry) for rank, endpoint in enumerate(self._dialing.endpoints)]

    def __enter__(self) -> "BenchParent":
        for caller in self.callers:
            caller.start()
        return self

    def __exit__(self, *unused: object) -> None:
        for caller in self.callers:
            caller.stop()
        self.side.close()
        for caller in self.callers:
            caller.join(3.0)
        self._dialing.close()

    def num_training(self) -> int:
        """Children that take part now."""
        return sum(caller.state == "training" for caller in self.callers)

    def wait_for(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        """Until ``done()``.

        Raises:
            SystemExit: it was not in time; what the children said is shown.
        """
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                reasons = [caller.why for caller in self.callers if caller.why]
                raise SystemExit(f"{what} did not come within {seconds:g} s: {(reasons + self.notes)[-3:]}")
            time.sleep(0.01)  # the parent announces nothing, and a waiter of ours would be part of what is measured

    def wait_for_rounds(self, count: int, seconds: float) -> None:
        """Until so many more rounds are over."""
        wanted = self.side.current.version + count
        self.wait_for(lambda: self.side.current.version >= wanted, seconds, f"{count} rounds")


class Words:
    """What a process says, read as it comes: a full pipe would stop it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._over = False
        self._said = threading.Condition()
        threading.Thread(target=self._read, name="words", daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            with self._said:
                self._lines.append(line.rstrip())
                self._said.notify_all()
        with self._said:
            self._over = True
            self._said.notify_all()

    def forget(self) -> None:
        """Wait only for what is still to come."""
        with self._said:
            self._lines.clear()

    def wait(self, text: str, seconds: float = 60.0) -> str:
        """The first line that holds ``text``.

        Raises:
            SystemExit: it does not come; what came is shown.
        """

        def found() -> str | None:
            return next((line for line in self._lines if text in line), None)

        with self._said:
            self._said.wait_for(lambda: found() or self._over, seconds)
            if (line := found()) is None:
                raise SystemExit(f"expected a child to say {text!r} within {seconds:g} s, it said: {self._lines[-3:]}")
            return line


@contextmanager
def child_process(
    home: Path, *words: str, before: Iterable[str] = ()
) -> Iterator[tuple[subprocess.Popen[str], str, Words]]:
    """``marl child``, the address it listens on, and what it says.

    Args:
        home: holds its key.
        before: words in front of the command.
    """
    import sys

    command = [*before, sys.executable, "-m", "marl", "child", *words, "--allow", "*", "--until-stdin-closes"]
    environment = {**os.environ, "MARL_HOME": str(home)}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = Words(process.stdout)
        ready = said.wait("listening on ")
        yield process, ready.partition("listening on ")[2].split()[0].partition("://")[2], said
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(15.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def contact_processes(root: int) -> list[int]:
    """The processes under ``root`` that are children's contacts (Linux)."""
    found = []
    for process in family(root):
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"child" in words and b"--contact" in words:
            found.append(process)
    return found


def worker_processes(root: int) -> list[int]:
    """The processes under ``root`` that are workers (Linux)."""
    found = []
    for process in family(root):
        try:
            if Path(f"/proc/{process}/comm").read_text().startswith("marl worker"):
                found.append(process)
        except OSError:
            continue
    return found


def processor_seconds(process: int) -> float:
    """Of all threads of one process, living or not (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
