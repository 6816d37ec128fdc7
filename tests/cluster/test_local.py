"""Children on this machine: how many workers each gets, and that one that dies is started again where it was."""

import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from marl.cluster import local as module
from marl.cluster.local import LocalChildren, _Child
from marl.errors import LinkClosed

PATIENCE_S = 20.0

# Says where it listens, as a child does; lives until its input is closed, or until it reads that it is to break.
PROGRAM = """
import sys
port = sys.argv[sys.argv.index("-p") + 1]
print("child box listening on wss://127.0.0.1:" + ("5051" if port == "0" else port) + " with 1 worker", flush=True)
for line in sys.stdin:
    print("a fuse blew", flush=True)
    sys.exit(3)
"""


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What children would have been started with; none is."""
    written: list[list[str]] = []

    def write(command: list[str], unused_environment: dict[str, str]) -> SimpleNamespace:
        written.append(command)
        return SimpleNamespace(ask_to_end=lambda: None, end=lambda deadline: None)

    monkeypatch.setattr(module, "_Child", write)
    return written


@pytest.mark.parametrize(
    ("cores", "count", "asked", "each"),
    [(8, 1, 0, 7), (8, 2, 0, 3), (8, 3, 0, 2), (8, 7, 0, 1), (8, 9, 0, 1), (2, 1, 0, 1), (1, 1, 0, 1), (8, 2, 5, 5)],
)
def test_all_cores_but_one_are_shared_among_the_children(
    cores: int, count: int, asked: int, each: int, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "count_cores", lambda: cores)
    with LocalChildren(count, workers=asked):
        pass
    assert [command[command.index("--workers") + 1] for command in commands] == [str(each)] * count


@pytest.fixture
def start() -> Iterator[Callable[[str], _Child]]:
    """Starts a program as a child; it is ended with the test."""
    started: list[_Child] = []

    def make(program: str) -> _Child:
        started.append(_Child([sys.executable, "-S", "-c", program, "-p", "0"], {}))
        return started[-1]

    yield make
    for child in started:
        child.ask_to_end()
        child.end(time.monotonic() + PATIENCE_S)


def address(child: _Child) -> str:
    return child.address(time.monotonic() + PATIENCE_S)


def test_one_that_dies_is_started_again_at_its_address(start: Callable[[str], _Child]) -> None:
    child = start(PROGRAM)
    assert address(child) == "127.0.0.1:5051"
    assert child.revive() is None  # it lives
    for _ in range(2):
        process = child._process
        assert process.stdin is not None
        process.stdin.write(b"break\n")
        process.stdin.close()
        process.wait(PATIENCE_S)
        child._reader.join(PATIENCE_S)
        line = child.revive()
        assert line == "the local child at 127.0.0.1:5051 ended with code 3 (a fuse blew) and is started again"
        assert child._process is not process
        assert child._process.args[-2:] == ["-p", "5051"]
        assert child.revive() is None
        assert address(child) == "127.0.0.1:5051"


def test_one_that_was_told_to_end_stays_so(start: Callable[[str], _Child]) -> None:
    child = start(PROGRAM)
    address(child)
    child.ask_to_end()
    assert child._process.wait(PATIENCE_S) == 0
    assert child.revive() is None


def test_one_that_never_listened_is_not_tried_again(start: Callable[[str], _Child]) -> None:
    """Another start would end the same way; the run is told why."""
    child = start("print('no such module')")
    child._process.wait(PATIENCE_S)
    with pytest.raises(LinkClosed, match="it said: no such module"):
        address(child)
    assert child.revive() is None
