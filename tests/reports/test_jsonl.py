"""A file of lines that is added to: nothing that a disk or a crash does to it ends a run."""

import os
from pathlib import Path

import pytest

from marl.reports import jsonl
from marl.reports.jsonl import JsonLines


def test_a_torn_last_line_does_not_harm_the_next(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    JsonLines(file, "metrics").add(b"1")
    with file.open("ab") as torn:
        torn.write(b'{"seconds": 1.0, "ste')
    JsonLines(file, "metrics").add(b"2")
    assert file.read_bytes() == b'1\n{"seconds": 1.0, "ste\n2\n'


def test_a_full_disk_warns_once_and_writing_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "gone" / "metrics.jsonl"
    lines = JsonLines(file, "metrics")
    expected = f"metrics lost, {file} cannot be written (No such file or directory): training goes on without"
    assert [lines.add(b"1"), lines.add(b"2")] == [expected, None]
    file.parent.mkdir()
    assert lines.add(b"3") is None
    assert file.read_bytes() == b"3\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_really_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "open_to_append", lambda unused_path: os.open("/dev/full", os.O_RDWR))
    lines = JsonLines(tmp_path / "metrics.jsonl", "metrics")
    assert "No space left" in (lines.add(b"1") or "")
    assert lines.add(b"2") is None


def test_a_file_never_becomes_larger_than_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_FILE", 20)
    file = tmp_path / "events.jsonl"
    lines = JsonLines(file, "events")
    told = [lines.add(b"123456789") for _ in range(4)]
    assert file.stat().st_size <= 20
    assert [bool(warning) for warning in told] == [False, False, True, False]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none here")
@pytest.mark.timeout(30)
def test_what_is_no_file_of_its_own_is_not_written_to(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("mine")
    (tmp_path / "link").symlink_to(own)
    os.mkfifo(tmp_path / "fifo")
    assert "(it is a symbolic link)" in (JsonLines(tmp_path / "link", "metrics").add(b"1") or "")
    assert "(it is no regular file)" in (JsonLines(tmp_path / "fifo", "metrics").add(b"1") or "")
    assert own.read_text() == "mine"
