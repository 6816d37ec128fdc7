"""Runs side by side, each in a process with cores of its own, until all have ended or a signal comes."""

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from marl.config.settings import Config
from marl.processes.cores import count_cores
from marl.processes.interpreter import interpreter
from marl.studies.one_run import Job
from marl.studies.plan import Planned, changed_since

LOG = "log.txt"  # what a run prints, in its place
LOOK_S = 0.1  # between two looks at the processes
STOP_S = 60.0  # for runs to save what they have and end; then they are killed
_MOST_LOG = 4096  # bytes of the end of a log, to find a reason in


COMMAND = (*interpreter(), "-m", "marl.studies.one_run")  # what starts the process of a run


class Ended(NamedTuple):
    """A run's process has ended."""

    planned: Planned
    failure: str  # why it ended too early; "" if it did not


class _Running(NamedTuple):
    planned: Planned
    process: subprocess.Popen[bytes]
    log: IO[bytes]


def slots_for(runs: Sequence[Planned], cores: int | None = None) -> int:
    """How many of these runs fit beside each other, so that each has a core for every worker."""
    cores = count_cores() if cores is None else cores
    need = max((_cores_of(planned.config, planned.cell.children, cores) for planned in runs), default=cores)
    return max(1, cores // need)


def shares(slots: int, cores: Sequence[int], granted: int) -> list[list[int]]:
    """The cores of each slot: equally many, of its own as long as there are enough.

    Args:
        cores: numbers of those that this process may use; ``granted``: how many of them at a time.
    """
    each = max(1, min(granted, len(cores)) // slots)
    return [[cores[(slot * each + index) % len(cores)] for index in range(each)] for slot in range(slots)]


def play(
    runs: Sequence[Planned],
    slots: int,
    allow: Sequence[str],
    stopped: threading.Event,
    *,
    began: Callable[[Planned], None],
    ended: Callable[[Ended], None],
) -> None:
    """Bring these runs to their ends, in their order; when ``stopped`` is set, stop those that are under way.

    Args:
        began: is told of each run before it starts.
        ended: is told of each whose process has ended, before another takes its place.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))
    free = shares(slots, cores, count_cores())
    waiting, running = list(runs), dict[int, tuple[_Running, list[int]]]()
    try:
        while (waiting or running) and not stopped.is_set():
            for number, (one, share) in list(running.items()):
                if one.process.poll() is not None:
                    del running[number]
                    free.append(share)
                    ended(_close(one))
            while waiting and free and not stopped.is_set():
                planned = waiting.pop(0)
                began(planned)
                if failure := changed_since(planned, allow):
                    ended(Ended(planned, failure))
                    continue
                one = _start(planned, free[0], allow, pinned=affinity is not None)
                running[one.process.pid] = one, free.pop(0)
            stopped.wait(LOOK_S)
    finally:
        _stop([one for one, _ in running.values()])


def _start(planned: Planned, cores: list[int], allow: Sequence[str], *, pinned: bool) -> _Running:
    settings = dict(planned.settings)
    if not pinned and not planned.config.node.workers and not planned.config.deterministic:
        # No system call gives it its cores. A deterministic run has one worker anyway.
        settings["node.workers"] = max(1, len(cores) // max(1, planned.cell.children))
    job = Job(
        place=str(planned.place),
        out=str(planned.weights),
        base=planned.base,
        settings=settings,
        children=planned.cell.children,
        resumable=planned.resumable,
        cores=cores if pinned else [],
        allow=list(allow),
    )
    planned.place.mkdir(parents=True, exist_ok=True)
    log = open(planned.place / LOG, "ab")  # noqa: SIM115  it is closed with the process
    process = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        # Of its own: a terminal's Ctrl-C is for the study, which then stops its runs, and each of them once.
        process_group=0 if os.name == "posix" else None,
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended: its log says why
        process.stdin.write(json.dumps(job._asdict()).encode() + b"\n")
        process.stdin.flush()
    return _Running(planned, process, log)


def _stop(running: Sequence[_Running]) -> None:
    """End all at the same time; each saves what it has."""
    for one in running:
        _hang_up(one.process)
    for one in running:
        try:
            one.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
        one.log.close()


def _close(one: _Running) -> Ended:
    _hang_up(one.process)
    one.log.close()
    code = one.process.returncode
    return Ended(one.planned, "" if code == 0 else _reason(one.planned.place / LOG, code))


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it has ended
        process.stdin.close()


def _reason(log: Path, code: int) -> str:
    """Why a process has ended, by the last line of its log."""
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - _MOST_LOG))
        lines = file.read().decode(errors="replace").strip().splitlines()
    said = lines[-1].removeprefix("Error: ") if lines else ""
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"{said} ({how}; all of it in {log})" if code < 0 or not said else said


def _cores_of(config: Config, children: int, cores: int) -> int:
    """How many cores a run uses if it may."""
    workers = 1 if config.deterministic else config.node.workers
    return min(cores, workers * max(1, children)) if workers else cores
