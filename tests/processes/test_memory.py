import os
from pathlib import Path

import pytest

from marl.processes import memory
from marl.processes.memory import free_bytes


class Room:
    """What ``os.statvfs`` says of a file system with 100 free blocks of 4096 bytes, 7 of them for root alone."""

    f_bavail, f_bfree, f_frsize, f_bsize = 93, 100, 4096, 1


def given(monkeypatch: pytest.MonkeyPatch, *, room: Room | None, meminfo: str | None) -> None:
    """Another machine."""

    def statvfs(path: object) -> Room:
        assert path == memory.SHARED
        if room is None:
            raise FileNotFoundError(path)
        return room

    def read_text(path: Path, encoding: str) -> str:
        assert path == Path("/proc/meminfo")
        if meminfo is None:
            raise FileNotFoundError(path)
        return meminfo

    monkeypatch.setattr(os, "statvfs", statvfs, raising=False)
    monkeypatch.setattr(Path, "read_text", read_text)


MEMINFO = "MemTotal:       16000 kB\nMemFree:  100 kB\nMemAvailable:    {} kB\nHugePages_Total:       0\n"


@pytest.mark.parametrize(
    ("room", "meminfo", "free"),
    [
        (Room(), MEMINFO.format(8000), 93 * 4096),
        (Room(), MEMINFO.format(20), 20 * 1024),
        (Room(), None, 93 * 4096),
        (Room(), "MemTotal: 1 kB\n", 93 * 4096),  # before Linux 3.14
        (Room(), "", 93 * 4096),
        (Room(), "nonsense\n", 93 * 4096),
        (None, MEMINFO.format(8000), 8000 * 1024),
        (None, None, None),
    ],
)
def test_the_smaller_of_what_is_known(
    room: Room | None, meminfo: str | None, free: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, room=room, meminfo=meminfo)
    assert free_bytes() == free


def test_where_statvfs_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    given(monkeypatch, room=None, meminfo=None)
    monkeypatch.delattr(os, "statvfs")
    assert free_bytes() is None


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="there is no /proc/meminfo")
def test_here() -> None:
    free = free_bytes()
    assert free is not None
    assert 0 < free < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
