"""A whole run in this process: its processes are threads, and its children are reached through memory."""

import contextlib
import dataclasses
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from marl.cluster.child import ChildSettings, _Child
from marl.data.shared import SharedBlock
from marl.errors import LinkClosed, MarlError, SpaceFault
from marl.links.memory import memory_pair
from marl.processes.ending import _State
from marl.processes.group import Failure, Member, ProcessGroup
from marl.reports.sinks.sink import Facts
from marl.reports.stream import Stream
from marl.wire.endpoint import Endpoint
from marl.wire.link import Link

PATIENCE_S = 60.0  # only a failing run waits so long
TARGETS = ("marl.cluster.runs.assemble.ProcessGroup", "marl.cluster.contact.ProcessGroup")


class _AsProcess:
    """A thread with the face of a process."""

    def __init__(self, name: str, target: Callable[..., None], pipe: Any, args: tuple[Any, ...]) -> None:
        self.exitcode: int | None = None
        self.sentinel, self._end = Pipe(duplex=False)
        self._target, self._pipe, self._args = target, pipe, args
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._target(self._pipe, *self._args)
            self.exitcode = 0
        except EOFError:  # the other end of the pipe is closed: nothing more is wanted
            self.exitcode = 0
        except Exception as error:
            self.exitcode = 1
            failure = Failure(str(error), traceback.format_exc(), isinstance(error, MarlError), _repeats(error))
            with contextlib.suppress(OSError):
                self._pipe.send(failure)
        finally:
            self._pipe.close()
            self._end.close()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def terminate(self) -> None: ...

    kill = terminate

    def close(self) -> None:
        self.sentinel.close()


def _repeats(error: Exception) -> bool:
    return isinstance(error, SpaceFault)


def _as_handed_over(argument: Any) -> Any:
    """A block as another process sees it: the same memory, in tensors whose changes torch counts apart."""
    if not isinstance(argument, SharedBlock):
        return argument
    make, (fields, memory) = argument.__reduce__()
    return make(fields, torch.from_numpy(memory.numpy()))


class ThreadGroup(ProcessGroup):
    """Starts threads."""

    def start(
        self, name: str, target: Callable[..., None], *args: Any, may_end: Callable[[], bool] = lambda: False
    ) -> Member:
        ours, theirs = Pipe()
        process: Any = _AsProcess(name, target, theirs, tuple(map(_as_handed_over, args)))
        member = Member(name, process, ours, "no process", may_end)
        self.members[name] = member
        return member


class _Meets:
    """One side of the way between a parent and a child."""

    def __init__(self, address: str, links: "queue.Queue[Link | None]", before: Callable[[], None]) -> None:
        self.address, self._links, self._before = address, links, before

    def meet(self) -> Link:
        self._before()
        link = self._links.get()
        if link is None:
            self._links.put(None)
            raise LinkClosed("closed")
        return link

    def check(self) -> None: ...

    def close(self) -> None:
        self._links.put(None)


@dataclasses.dataclass
class Children:
    """A ``Fleet`` of children in threads, each with one worker."""

    count: int
    home: Path
    threads: list[threading.Thread] = dataclasses.field(default_factory=list)
    stopped: threading.Event = dataclasses.field(default_factory=threading.Event)

    def open(self, workers: int, note: Callable[[str], None]) -> Sequence[Endpoint]:
        return [self._start(f"child-{number}") for number in range(self.count)]

    def _start(self, name: str) -> Endpoint:
        to_parent: queue.Queue[Link | None] = queue.Queue()
        to_child: queue.Queue[Link | None] = queue.Queue()

        def connect() -> None:
            here, there = memory_pair()
            to_parent.put(cast(Link, here))
            to_child.put(cast(Link, there))

        meets = _Meets(name, to_child, lambda: None)
        child = _Child(ChildSettings(workers=1, allow=("tests",)), meets, name, self.home, self._stream(), self.stopped)
        thread = threading.Thread(target=child.run, args=("memory",), name=name, daemon=True)
        thread.start()
        self.threads.append(thread)
        return _Meets(name, to_parent, connect)

    @staticmethod
    def _stream() -> Stream:
        stream = Stream({})
        stream.begin(Facts())
        return stream

    def tend(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), f"{thread.name} does not end"


@contextlib.contextmanager
def threads_for_processes() -> Iterator[None]:
    """Whatever a run starts meanwhile is a thread; what these hold is closed at the end."""
    with pytest.MonkeyPatch.context() as patch:
        for target in TARGETS:
            patch.setattr(target, ThreadGroup)
        patch.setattr(sys, "stdout", sys.stdout)  # put back whatever threads have made of it
        try:
            yield
        finally:
            for thing in _State.to_close:
                thing.close()
            _State.to_close.clear()
