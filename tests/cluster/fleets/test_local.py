"""Children on this machine: how many workers each gets, and that one that dies is started again where it was."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marl.cluster import child
from marl.cluster.child import ChildSettings
from marl.cluster.fleets import local as module
from marl.cluster.fleets.local import LocalFleet
from marl.errors import ConfigError, LinkClosed
from marl.links.websocket.sockets import listen
from marl.processes.descendants import new_mark
from marl.processes.group import Failure, Member, ProcessGroup
from marl.processes.ports import free_port
from tests import process_targets as targets

PATIENCE_S = 30.0


@pytest.mark.parametrize(
    ("cores", "count", "asked", "each"),
    [(8, 1, 0, 7), (8, 2, 0, 3), (8, 3, 0, 2), (8, 7, 0, 1), (8, 9, 0, 1), (2, 1, 0, 1), (1, 1, 0, 1), (8, 2, 5, 5)],
)
def test_all_cores_but_one_are_shared_among_the_children(
    cores: int, count: int, asked: int, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def start(self: LocalFleet, name: str, unused_port: int) -> None:
        self._addresses[name] = ""
        started.append(self._workers)

    monkeypatch.setattr(module, "count_cores", lambda: cores)
    monkeypatch.setattr(LocalFleet, "_start", start)
    monkeypatch.setattr(LocalFleet, "_wait", lambda unused_self, name, unused_deadline: name.replace(" ", "-"))
    with LocalFleet(count) as children:
        children.start(asked)
    assert started == [each] * count


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any, int], LocalFleet]]:
    """Starts a function as each child; they are ended with the test."""
    made: list[LocalFleet] = []

    def make(target: Any, count: int) -> LocalFleet:
        monkeypatch.setattr(module, "serve", target)
        made.append(LocalFleet(count))
        return made[-1]

    yield make
    for children in made:
        children.close()


@pytest.mark.parametrize(
    ("word", "how"), [("break", "ended with exit code 3"), ("end", "ended by itself with exit code 0")]
)
def test_one_that_ends_is_started_again_at_its_address(
    word: str, how: str, start: Callable[[Any, int], LocalFleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that a signal has told to end, and does so in good order: the run still needs it."""
    monkeypatch.setattr(module, "SHORTEST_PAUSE", 0.0)
    monkeypatch.setattr(module, "LONG_LIFE_S", 0.0)
    children = start(targets.listens, 2)
    first, second = map(str, children.start())
    assert first != second
    assert children.tend() == []  # they live
    for _ in range(2):
        children._group.send("child 1", word)
        assert died(children) == [f"the local child at {second} ended ({how}) and is started again"]
        assert children._wait("child 1", time.monotonic() + PATIENCE_S) == second
        assert children.tend() == []


class Refused(ProcessGroup):
    """Whose processes end as soon as they are started, on a clock that the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.starts: list[float] = []
        self.ended = True

    def start(self, name: str, target: Any, *args: Any) -> Any:
        self.starts.append(self.time)
        self.ended = True

    def check(self, beginning: str = "") -> list[tuple[str, Failure]]:
        ended, self.ended = self.ended, False
        return [("child 0", Failure("port 5051 is taken", "", True))] if ended else []


def test_one_that_cannot_live_is_told_of_once_and_started_after_growing_pauses(
    start: Callable[[Any, int], LocalFleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another program has taken its port meanwhile."""
    children = start(targets.listens, 1)
    children._addresses["child 0"] = "127.0.0.1:5051"
    children._group = group = Refused()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: group.time))
    said = []
    while group.time < 120:
        said += children.tend()
        group.time += 0.5
    pauses = [after - before for before, after in pairwise([0.0, *group.starts])]
    assert pauses == [0.5, 1.5, 2.5, 4.5, 8.5, 16.5, 30.5, 30.5]  # it is looked at twice a second
    assert said == ["the local child at 127.0.0.1:5051 ended (port 5051 is taken) and is started again"]


def died(children: LocalFleet) -> list[str]:
    deadline = time.monotonic() + PATIENCE_S
    while not (lines := children.tend()):
        assert time.monotonic() < deadline
        children._group.wait(0.1)
    return lines


def test_all_are_started_before_the_first_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes seconds until it listens: they take them side by side."""
    order: list[str] = []

    def start(self: LocalFleet, name: str, unused_port: int) -> None:
        self._addresses[name] = ""
        order.append(f"start {name}")

    def wait(unused_self: LocalFleet, name: str, unused_deadline: float) -> str:
        order.append(f"wait {name}")
        return name.replace(" ", "-")

    monkeypatch.setattr(LocalFleet, "_start", start)
    monkeypatch.setattr(LocalFleet, "_wait", wait)
    with LocalFleet(3) as children:
        children.start()
    assert order == [f"{what} child {number}" for what in ("start", "wait") for number in range(3)]


class Noted:
    """Notes all that is done to one child: as its process, and as the parent's end of its pipe."""

    def __init__(self, name: str, order: list[str], *, deaf: bool) -> None:
        self._name, self._order, self._deaf = name, order, deaf

    def close(self) -> None:
        self._order.append(f"tell {self._name}")

    def is_alive(self) -> bool:
        return self._deaf

    def join(self, unused_seconds: float) -> None:
        self._order.append(f"join {self._name}")

    def terminate(self) -> None:
        self._order.append(f"terminate {self._name}")
        self._deaf = False


@pytest.mark.parametrize("deaf", [False, True])
def test_all_are_told_to_end_before_the_first_is_waited_for(deaf: bool) -> None:
    """By their pipes, and where they do not listen to these by SIGTERM."""
    order: list[str] = []
    children = LocalFleet(3)
    for number in range(3):
        name = f"child {number}"
        noted: Any = Noted(name, order, deaf=deaf)
        children._group.members[name] = Member(name, noted, noted, new_mark(), lambda: True)
    children.close()
    steps = ["tell", "join", "terminate", "join"] if deaf else ["tell", "join", "join"]
    expected = [f"{what} child {number}" for what in steps for number in range(3)]
    assert order[: len(expected)] == expected
    assert children._group.members == {}


def test_children_that_were_ended_leave_nothing(start: Callable[[Any, int], LocalFleet]) -> None:
    children = start(targets.listens, 3)
    children.start()
    processes = [member.process for member in children._group.members.values()]
    children.close()
    children.close()
    assert children.tend() == []
    assert not children.home.exists()
    assert len(processes) == 3


def test_one_that_never_listened_is_not_tried_again(start: Callable[[Any, int], LocalFleet]) -> None:
    """Another start would end the same way; the run is told why."""
    children = start(targets.cannot_listen, 1)
    with pytest.raises(LinkClosed, match="expected a local child to listen, child 0 ended: no such address"):
        children.start()
    assert children.tend() == []


@pytest.mark.parametrize("given", [False, True], ids=["any port", "the port of before"])
def test_a_port_that_another_program_takes(given: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may choose chooses again; one that is started again has to be where the parent looks for it."""
    tried: list[int] = []

    def run_child(settings: ChildSettings, *unused: Any, **unused_named: Any) -> None:
        tried.append(settings.port)
        if len(tried) == 1 or given:
            with socket.socket() as taken:
                taken.bind((settings.host, settings.port))
                taken.listen()
                listen(settings.host, settings.port, loopback_only=True)

    monkeypatch.setattr(child, "run_child", run_child)
    monkeypatch.setattr(module, "close_at_the_end", lambda unused: None)
    monkeypatch.setenv("MARL_HOME", str(tmp_path))
    port = free_port(module.HOST) if given else 0
    with pytest.raises(ConfigError, match="is in use") if given else contextlib.nullcontext():
        module.serve(SimpleNamespace(send=print), tmp_path, port, 1)
    assert len(tried) == (1 if given else 2)
    assert all(tried)
    assert tried[0] == port or not given


def test_a_process_may_have_a_group_of_its_own() -> None:
    """Its processes are forked from what it has loaded itself, by a process that was forked from it; all are of
    its session, so that Ctrl-C in the terminal does not reach them.
    """
    with ProcessGroup(nested=True) as group:
        member = group.start("one", targets.has_a_group)
        assert member.pipe.poll(PATIENCE_S)
        pid = member.process.pid
        assert member.pipe.recv() == ("ready", pid, pid, pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_parent_that_a_signal_ends_leaves_no_folder(number: signal.Signals, tmp_path: Path) -> None:
    """Children may still write to it: the last one removes it."""
    code = f"""
import os
from marl.cluster.fleets import local
from marl.processes.signals import end_at_once
from tests import process_targets as targets

if __name__ == "__main__":
    end_at_once()
    local.serve = targets.writes_at_the_end
    local.LocalFleet(2).start()
    os.kill(os.getpid(), {int(number)})
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    # Its output ends when the last child has.
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=120, check=False)
    assert ended.returncode in (-number, 128 + number)
    assert list(tmp_path.glob("marl-local-*")) == []
