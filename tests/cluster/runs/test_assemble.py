"""What a run's parts share."""

import os
from pathlib import Path

import pytest

from marl.cluster.runs.assemble import error_log


def test_tracebacks_are_added_to_the_log(tmp_path: Path) -> None:
    notes: list[str] = []
    log = error_log(tmp_path / "errors.log", notes.append)
    log("first")
    log("second")
    assert (tmp_path / "errors.log").read_text() == "first\nsecond\n"
    assert notes == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none here")
@pytest.mark.timeout(30)
def test_a_log_that_is_no_file_of_the_run(tmp_path: Path) -> None:
    """A link would let a run that is resumed write to any file; a FIFO would hold it up for ever."""
    own = tmp_path / "own.txt"
    own.write_text("mine")
    (tmp_path / "link").symlink_to(own)
    os.mkfifo(tmp_path / "fifo")
    notes: list[str] = []
    for name, what in (("link", "it is a symbolic link"), ("fifo", "it is no regular file")):
        error_log(tmp_path / name, notes.append)("trace")
        assert notes.pop() == f"a traceback is lost, {tmp_path / name} cannot be written ({what})"
    assert own.read_text() == "mine"
