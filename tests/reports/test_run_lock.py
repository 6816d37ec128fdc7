"""Two commands never write to one run folder at once."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from marl.errors import RunFolderError
from marl.reports.run_lock import HOLDER, LOCK, writing
from tests.commands import ROOT

HOLD = """
import sys
from pathlib import Path
from marl.reports.run_lock import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holding(folder: Path) -> "subprocess.Popen[str]":
    """A process that has the lock, until its standard input closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_command_is_told_who_writes(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        with pytest.raises(RunFolderError) as refused, writing(tmp_path):
            pass
        text = str(refused.value)
        assert f"process {process.pid} on {socket.gethostname()}, since 20" in text
        assert "\n" not in text
        process.communicate()
    with writing(tmp_path):
        pass
    assert not (tmp_path / HOLDER).exists()


def test_a_killed_command_holds_nothing(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with writing(tmp_path):
            assert str(os.getpid()) in (tmp_path / HOLDER).read_text()


def test_this_process_holds_it_once(tmp_path: Path) -> None:
    with writing(tmp_path), pytest.raises(RunFolderError, match="in use"), writing(tmp_path):
        pass


@pytest.mark.parametrize(
    "holder", [None, "", "[1", '{"pid": "x"}', '{"pid": 1, "host": "a\\n\\u001b[2J", "since": []}']
)
def test_a_holder_that_is_not_known(holder: str | None, tmp_path: Path) -> None:
    with writing(tmp_path):
        (tmp_path / HOLDER).unlink()
        if holder is not None:
            (tmp_path / HOLDER).write_text(holder)
        with pytest.raises(RunFolderError, match="in use") as refused, writing(tmp_path):
            pass
    assert str(refused.value).isprintable()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    with pytest.raises(RunFolderError, match="check its permissions"), writing(tmp_path):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none here")
@pytest.mark.parametrize("kind", ["link", "fifo"])
@pytest.mark.timeout(30)
def test_a_holder_that_is_no_file_of_the_folder_is_replaced(kind: str, tmp_path: Path) -> None:
    own, folder = tmp_path / "own.txt", tmp_path / "run"
    own.write_text("mine")
    folder.mkdir()
    if kind == "link":
        (folder / HOLDER).symlink_to(own)
    else:
        os.mkfifo(folder / HOLDER)
    with writing(folder), pytest.raises(RunFolderError, match=f"process {os.getpid()} on"), writing(folder):
        pass
    assert own.read_text() == "mine"
    assert not (folder / HOLDER).exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none here")
@pytest.mark.timeout(30)
def test_a_holder_that_is_never_written_is_not_waited_for(tmp_path: Path) -> None:
    with writing(tmp_path):
        (tmp_path / HOLDER).unlink()
        os.mkfifo(tmp_path / HOLDER)
        with pytest.raises(RunFolderError, match="another command writes"), writing(tmp_path):
            pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none here")
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_lock_that_is_no_file_of_the_folder(kind: str, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("mine")
    if kind == "link":
        (tmp_path / LOCK).symlink_to(own)
    else:
        os.mkfifo(tmp_path / LOCK)
    words = "it is a symbolic link" if kind == "link" else "it is no regular file"
    with pytest.raises(RunFolderError, match=words), writing(tmp_path):
        pass
    assert own.read_text() == "mine"
