import threading
from pathlib import Path

import pytest

from marl.training.saved.checkpoint import BackgroundWriter


class Gate:
    """Content whose making waits until it is let through: the writer is busy for as long as a test wants."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> bytes:
        self.entered.set()
        assert self.opened.wait(10)
        return b"gate"


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def writer(warnings: list[str]):
    writer = BackgroundWriter(warnings.append)
    yield writer
    writer.close()


def test_the_newest_of_each_file_wins(writer: BackgroundWriter, tmp_path: Path) -> None:
    gate, made = Gate(), []

    def content(name: str) -> bytes:
        made.append(name)
        return name.encode()

    writer.write(tmp_path / "gate", gate)
    assert gate.entered.wait(10)
    for name in ("old a", "older b", "newer a", "newest a"):
        writer.write(tmp_path / name[-1], lambda name=name: content(name))
    gate.opened.set()
    writer.flush()
    assert (tmp_path / "a").read_bytes() == b"newest a"
    assert (tmp_path / "b").read_bytes() == b"older b"
    assert sorted(made) == ["newest a", "older b"]  # what was dropped was never made
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b", "gate"]  # no temporary file is left


def test_files_reach_the_disk_in_the_order_of_their_last_write(writer: BackgroundWriter, tmp_path: Path) -> None:
    gate, made = Gate(), []
    writer.write(tmp_path / "gate", gate)
    assert gate.entered.wait(10)
    for name in ("a", "b", "a"):
        writer.write(tmp_path / name, lambda name=name: made.append(name) or b"")
    gate.opened.set()
    writer.flush()
    assert made == ["b", "a"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("odd"), "odd"),
        (MemoryError("too big"), "too big"),
        (RuntimeError("torch could not"), "torch could not"),
    ],
)
def test_a_failure_is_reported_and_the_older_file_kept(
    writer: BackgroundWriter, warnings: list[str], tmp_path: Path, error: Exception, words: str
) -> None:
    def fail() -> bytes:
        raise error

    path = tmp_path / "weights.pt"
    writer.write(path, lambda: b"good")
    writer.flush()
    writer.write(path, fail)
    writer.flush()
    assert path.read_bytes() == b"good"
    assert len(warnings) == 1
    assert words in warnings[0]
    assert str(path) in warnings[0]
    assert warnings[0].endswith("training goes on, the older file is kept")
    writer.write(path, lambda: b"better")  # and it goes on
    writer.flush()
    assert path.read_bytes() == b"better"


def test_a_folder_that_is_not_there(writer: BackgroundWriter, warnings: list[str], tmp_path: Path) -> None:
    writer.write(tmp_path / "nowhere" / "weights.pt", lambda: b"")
    writer.flush()
    assert "could not write" in warnings[0]
    assert "kept" not in warnings[0]


def test_close_writes_what_waits_and_may_be_called_twice(tmp_path: Path) -> None:
    writer = BackgroundWriter(lambda text: None)
    for name in "abc":
        writer.write(tmp_path / name, name.encode)
    writer.close()
    writer.close()
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"a": "a", "b": "b", "c": "c"}
    assert not writer._thread.is_alive()
