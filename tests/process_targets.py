"""What the tests run in processes of their own: importable functions, as ``ProcessGroup`` wants them."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from marl.data.node.memory import STEPS, UPDATES, array, ring
from marl.data.shared import SharedBlock
from marl.errors import EnvironmentFault, LinkClosed, SpaceFault
from marl.processes.ending import close_at_the_end
from marl.processes.group import ProcessGroup
from marl.training.optimizers import OptimizerSettings, make_optimizer
from marl.trust.names import host_id

_held: list[socket.socket] = []


def made_when(file: str) -> gymnasium.Env[Any, Any]:
    """An environment that cannot be made before the file is there."""
    while not Path(file).exists():
        time.sleep(0.01)
    return gymnasium.make("CartPole-v1")


def ends_well(pipe: Connection, *unused: Any) -> None:
    """Nothing to do."""


def says_what_it_is(pipe: Connection) -> None:
    """Sends what a process can know of itself, then waits to be ended."""
    main = sys.modules["__main__"]
    pipe.send((os.getpid(), signal.getsignal(signal.SIGINT) is signal.SIG_IGN, getattr(main, "__file__", None)))
    pipe.recv()


def fails(pipe: Connection) -> None:
    raise ValueError("the sum is wrong")


def finds_a_fault(pipe: Connection) -> None:
    """An error that a restart cannot mend."""
    raise EnvironmentFault("mend the environment")


def plays_and_breaks_its_spaces(pipe: Connection, job: Any, block: SharedBlock) -> None:
    """A worker whose environment shows another shape after a while."""
    block["counters"][job.worker, STEPS] += 1000
    raise SpaceFault("another shape")


def plays_and_crashes(pipe: Connection, job: Any, block: SharedBlock) -> None:
    """A worker whose environment raises after a while."""
    block["counters"][job.worker, STEPS] += 1000
    raise EnvironmentFault("the motor broke")


def learns_and_crashes(pipe: Connection, job: Any, block: SharedBlock) -> None:
    """Likewise, once it has learned."""
    block["counters"][job.worker, STEPS] += 1000
    block["counters"][job.worker, UPDATES] += 1
    raise EnvironmentFault("the motor broke")


def reads_too_far(pipe: Connection) -> None:
    """An end of something, though not of the pipe."""
    raise EOFError("the file is too short")


def talks_then_fails(pipe: Connection) -> None:
    pipe.send("one")
    pipe.send("two")
    raise ValueError("the sum is wrong")


def exits(pipe: Connection, code: int) -> None:
    os._exit(code)


def waits(pipe: Connection) -> None:
    """Until the main process closes the pipe."""
    pipe.send("ready")
    pipe.recv()


def ignores_everything(pipe: Connection) -> None:
    """Neither SIGTERM nor a closed pipe ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe.send("ready")
    threading.Event().wait()


def optimizes(pipe: Connection, settings: OptimizerSettings, block: SharedBlock, gradient: torch.Tensor) -> None:
    """Some steps of an optimizer that lies in shared memory: as many as it is told, until told None."""
    torch.set_num_threads(1)
    optimizer = make_optimizer(settings, block["optimizer"], block["optimizer_steps"])
    while (steps := pipe.recv()) is not None:
        for _ in range(steps):
            optimizer.step(block["weights"], gradient, 0.01)
        pipe.send("done")


def writes_rows(pipe: Connection, block: SharedBlock, worker: int, rows: np.ndarray) -> None:
    """Each time it is asked to, into its own ring and its own counters."""
    own = ring(block, worker)
    while pipe.recv() is not None:
        own.write(rows)
        array(block, "counters")[worker] += worker + 1
        pipe.send("done")


class Holds:
    """Says when it is closed, in two steps: the second waits for a word."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def close(self) -> None:
        self._pipe.send("closing")
        self._pipe.recv()
        self._pipe.send("closed")


def holds_something(pipe: Connection) -> None:
    """Never ends by itself."""
    close_at_the_end(Holds(pipe))
    pipe.send("ready")
    threading.Event().wait()


def has_a_process_of_its_own(pipe: Connection) -> None:
    """As an environment may; it would never end by itself."""
    process = multiprocessing.get_context("fork").Process(target=threading.Event().wait)
    process.start()
    pipe.send(process.pid)


def has_a_deaf_process_of_its_own(pipe: Connection) -> None:
    """It ends by no SIGTERM."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    has_a_process_of_its_own(pipe)
    signal.signal(signal.SIGTERM, before)


def has_a_semaphore(pipe: Connection) -> None:
    """By a name, as those of a vector of environments with processes; it never ends by itself."""
    lock: Any = multiprocessing.get_context("spawn").Lock()
    pipe.send(lock._semlock.name)
    threading.Event().wait()


def starts_a_program(pipe: Connection) -> None:
    """As a simulator that leads a session of its own, which never ends by itself; neither does this process."""
    program = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    pipe.send(program.pid)
    threading.Event().wait()


def held_port() -> int:
    """A port that no other process is told of while this one lives; two that look for a free one may find the same."""
    _held.append(socket.create_server(("127.0.0.1", 0)))
    return int(_held[-1].getsockname()[1])


def listens(pipe: Connection, unused_home: Path, port: int, unused_workers: int) -> None:
    """As a local child says where it listens; it lives until its pipe is closed, or it reads how it is to end."""
    pipe.send(f"127.0.0.1:{port or held_port()}")
    if pipe.recv() == "break":
        os._exit(3)


def cannot_listen(pipe: Connection, unused_home: Path, unused_port: int, unused_workers: int) -> None:
    raise LinkClosed("no such address")


def writes_at_the_end(pipe: Connection, home: Path, port: int, workers: int) -> None:
    """As a local child whose parent is gone before it has written all that it has to."""
    from marl.cluster import child
    from marl.cluster.fleets import local

    def run_child(*unused: Any, ready: Any, **more: Any) -> None:
        ready(f"127.0.0.1:{held_port()}")
        try:
            threading.Event().wait()  # until SIGTERM comes
        finally:
            host_id(home)

    child.run_child = run_child
    local.serve(pipe, home, port, workers)


def has_a_group(pipe: Connection) -> None:
    """Sends what a process of it says, whose child its forkserver is, and the sessions of both."""
    with ProcessGroup() as group:
        member = group.start("inner", waits)
        said = member.pipe.recv()
        forkserver = int(Path(f"/proc/{member.process.pid}/stat").read_text().rpartition(")")[2].split()[1])
        maker = int(Path(f"/proc/{forkserver}/stat").read_text().rpartition(")")[2].split()[1])
        pipe.send((said, maker, os.getsid(forkserver), os.getsid(member.process.pid)))


def takes_too_much(pipe: Connection) -> None:
    """More memory than any system has."""
    torch.zeros(2**50, dtype=torch.uint8)
